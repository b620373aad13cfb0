//! The only file that calls blst's C functions: scalars, points and sums of multiples, as safe values.
//!
//! Points leave the `decode` functions only when they are on the curve, in the right subgroup and not the point at
//! infinity. blst's own helpers for sums start a pool of threads at first use; these stay on the calling thread, because
//! the vault may not start one.

#![allow(unsafe_code, reason = "blst's low-level functions take raw pointers; each call says why it is sound")]

use std::mem::size_of;
use std::ptr;

use zeroize::DefaultIsZeroes;

use blst::{
    BLST_ERROR, blst_bendian_from_scalar, blst_fp, blst_fp_cneg, blst_fp_from_bendian, blst_fp2, blst_fp2_cneg,
    blst_fp2_inverse, blst_fp2_mul, blst_fp2_sqr, blst_fp2_sub, blst_hash_to_g2, blst_p1_affine,
    blst_p1_affine_compress, blst_p1_affine_in_g1, blst_p1_affine_is_inf, blst_p1_to_affine, blst_p1_uncompress,
    blst_p1s_add, blst_p1s_mult_pippenger, blst_p1s_mult_pippenger_scratch_sizeof, blst_p2, blst_p2_add_or_double,
    blst_p2_add_or_double_affine, blst_p2_affine, blst_p2_affine_compress, blst_p2_affine_in_g2, blst_p2_affine_is_inf,
    blst_p2_cneg, blst_p2_double, blst_p2_from_affine, blst_p2_generator, blst_p2_is_inf, blst_p2_mult,
    blst_p2_to_affine, blst_p2_uncompress, blst_p2s_add, blst_p2s_mult_pippenger,
    blst_p2s_mult_pippenger_scratch_sizeof, blst_p2s_to_affine, blst_scalar, blst_scalar_from_be_bytes,
    blst_scalar_from_bendian, blst_scalar_from_uint64, blst_sha256, blst_sign_pk_in_g1, blst_sk_add_n_check,
    blst_sk_check, blst_sk_inverse, blst_sk_mul_n_check, blst_sk_sub_n_check, blst_sk_to_pk_in_g1, limb_t,
};

/// The ciphersuite of the consensus specification: signatures in G2, proof of possession.
pub(crate) const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

/// (1 + i)^(-(p - 1) / 3), whose real part is 0.
const PSI_X: [u8; 48] = [
    0x1a, 0x01, 0x11, 0xea, 0x39, 0x7f, 0xe6, 0x99, 0xec, 0x02, 0x40, 0x86, 0x63, 0xd4, 0xde, 0x85, 0xaa, 0x0d, 0x85,
    0x7d, 0x89, 0x75, 0x9a, 0xd4, 0x89, 0x7d, 0x29, 0x65, 0x0f, 0xb8, 0x5f, 0x9b, 0x40, 0x94, 0x27, 0xeb, 0x4f, 0x49,
    0xff, 0xfd, 0x8b, 0xfd, 0x00, 0x00, 0x00, 0x00, 0xaa, 0xad,
];
/// (1 + i)^(-(p - 1) / 2).
const PSI_Y: [[u8; 48]; 2] = [
    [
        0x13, 0x52, 0x03, 0xe6, 0x01, 0x80, 0xa6, 0x8e, 0xe2, 0xe9, 0xc4, 0x48, 0xd7, 0x7a, 0x2c, 0xd9, 0x1c, 0x3d,
        0xed, 0xd9, 0x30, 0xb1, 0xcf, 0x60, 0xef, 0x39, 0x64, 0x89, 0xf6, 0x1e, 0xb4, 0x5e, 0x30, 0x44, 0x66, 0xcf,
        0x3e, 0x67, 0xfa, 0x0a, 0xf1, 0xee, 0x7b, 0x04, 0x12, 0x1b, 0xde, 0xa2,
    ],
    [
        0x06, 0xaf, 0x0e, 0x04, 0x37, 0xff, 0x40, 0x0b, 0x68, 0x31, 0xe3, 0x6d, 0x6b, 0xd1, 0x7f, 0xfe, 0x48, 0x39,
        0x5d, 0xab, 0xc2, 0xd3, 0x43, 0x5e, 0x77, 0xf7, 0x6e, 0x17, 0x00, 0x92, 0x41, 0xc5, 0xee, 0x67, 0x99, 0x2f,
        0x72, 0xec, 0x05, 0xf4, 0xc8, 0x10, 0x84, 0xfb, 0xed, 0xe3, 0xcc, 0x09,
    ],
];

/// The bits of a scalar.
pub(crate) const SCALAR_BITS: usize = 255;

/// A number modulo the group order; wiped when dropped (blst's scalar does that).
pub(crate) struct Scalar(blst_scalar);

impl Scalar {
    /// A small number.
    pub(crate) fn from_small(number: u64) -> Self {
        let limbs = [number, 0, 0, 0];
        let mut out = blst_scalar::default();
        // SAFETY: `limbs` has the four 64-bit limbs that the function reads.
        unsafe { blst_scalar_from_uint64(&mut out, limbs.as_ptr()) };
        Self(out)
    }

    /// Becomes the secret key with these big-endian bytes; `false` for 0 and for numbers not below the group order.
    ///
    /// In place, because a move would leave a copy behind that nobody wipes.
    #[must_use]
    pub(crate) fn set_secret(&mut self, bytes: &[u8; 32]) -> bool {
        // SAFETY: the function reads exactly 32 bytes.
        unsafe { blst_scalar_from_bendian(&mut self.0, bytes.as_ptr()) };
        // SAFETY: reads the scalar only.
        unsafe { blst_sk_check(&self.0) }
    }

    /// 64 uniform bytes reduced modulo the group order; `None` when that is 0.
    pub(crate) fn from_wide_bytes(bytes: &[u8; 64]) -> Option<Self> {
        let mut out = Self(blst_scalar::default());
        // SAFETY: pointer and length belong to the same array.
        unsafe { blst_scalar_from_be_bytes(&mut out.0, bytes.as_ptr(), bytes.len()) }.then_some(out)
    }

    /// Big-endian bytes.
    pub(crate) fn write_be(&self, out: &mut [u8; 32]) {
        // SAFETY: the function writes exactly 32 bytes.
        unsafe { blst_bendian_from_scalar(out.as_mut_ptr(), &self.0) };
    }

    /// Little-endian bytes, as sums of multiples take them.
    pub(crate) fn le_bytes(&self) -> &[u8; 32] {
        &self.0.b
    }

    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut out = blst_scalar::default();
        // SAFETY: three valid scalars; the result says whether the sum is 0, which is a fine sum here.
        unsafe { blst_sk_add_n_check(&mut out, &self.0, &other.0) };
        Self(out)
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut out = blst_scalar::default();
        // SAFETY: as for `plus`.
        unsafe { blst_sk_sub_n_check(&mut out, &self.0, &other.0) };
        Self(out)
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut out = blst_scalar::default();
        // SAFETY: as for `plus`.
        unsafe { blst_sk_mul_n_check(&mut out, &self.0, &other.0) };
        Self(out)
    }

    /// The inverse; 0 for 0.
    pub(crate) fn inverse(&self) -> Self {
        let mut out = blst_scalar::default();
        // SAFETY: two valid scalars.
        unsafe { blst_sk_inverse(&mut out, &self.0) };
        Self(out)
    }

    pub(crate) fn is_zero(&self) -> bool {
        self.0.b.iter().fold(0, |seen, byte| seen | byte) == 0
    }

    /// The public key of this secret. Constant time.
    pub(crate) fn public(&self) -> [u8; 48] {
        let (mut point, mut affine, mut out) = (Default::default(), Default::default(), [0; 48]);
        // SAFETY: the scalar is valid, the points are out parameters, and 48 bytes are written.
        unsafe {
            blst_sk_to_pk_in_g1(&mut point, &self.0);
            blst_p1_to_affine(&mut affine, &point);
            blst_p1_affine_compress(out.as_mut_ptr(), &affine);
        }
        out
    }

    /// The signature of a hashed message. Constant time; blst wipes its copy of the secret.
    pub(crate) fn sign(&self, message: &MessagePoint) -> [u8; 96] {
        let mut point = blst_p2::default();
        // SAFETY: all three point to valid values.
        unsafe { blst_sign_pk_in_g1(&mut point, &message.0, &self.0) };
        SignaturePoint::from_sum(&point).compress()
    }
}

/// A message hashed to G2.
pub(crate) struct MessagePoint(blst_p2);

impl MessagePoint {
    pub(crate) fn hash(message: &[u8; 32]) -> Self {
        let mut point = blst_p2::default();
        // SAFETY: pointers and lengths belong together; the augmentation is empty and never read.
        unsafe {
            blst_hash_to_g2(&mut point, message.as_ptr(), message.len(), DST.as_ptr(), DST.len(), ptr::null(), 0);
        };
        Self(point)
    }

    pub(crate) fn affine(&self) -> blst_p2_affine {
        let mut affine = blst_p2_affine::default();
        // SAFETY: reads one point and writes the other.
        unsafe { blst_p2_to_affine(&mut affine, &self.0) };
        affine
    }

    pub(crate) fn as_sum(&self) -> Sum {
        Sum(self.0)
    }
}

/// A point of G1: a public key or a sum of public keys.
#[derive(Clone, Copy)]
pub(crate) struct PublicPoint(pub(crate) blst_p1_affine);

impl PublicPoint {
    /// A compressed public key; `None` unless it is canonical, in G1 and not infinity.
    pub(crate) fn decode(bytes: &[u8; 48]) -> Option<Self> {
        let mut point = blst_p1_affine::default();
        // SAFETY: the function reads exactly 48 bytes.
        let result = unsafe { blst_p1_uncompress(&mut point, bytes.as_ptr()) };
        let point = Self(point);
        // SAFETY: reads the point, which is on the curve after a successful decode.
        let usable = || !point.is_infinity() && unsafe { blst_p1_affine_in_g1(&point.0) };
        (result == BLST_ERROR::BLST_SUCCESS && usable()).then_some(point)
    }

    pub(crate) fn compress(&self) -> [u8; 48] {
        let mut out = [0; 48];
        // SAFETY: 48 bytes are written.
        unsafe { blst_p1_affine_compress(out.as_mut_ptr(), &self.0) };
        out
    }

    pub(crate) fn is_infinity(&self) -> bool {
        // SAFETY: reads the point only.
        unsafe { blst_p1_affine_is_inf(&self.0) }
    }

    /// The plain sum; infinity for no points.
    pub(crate) fn sum(points: &[blst_p1_affine]) -> Self {
        let mut sum = Default::default();
        if !points.is_empty() {
            let list = [points.as_ptr(), ptr::null()];
            // SAFETY: a null after the first pointer means that the points lie side by side; there are `len` of them.
            unsafe { blst_p1s_add(&mut sum, list.as_ptr(), points.len()) };
        }
        let mut affine = blst_p1_affine::default();
        // SAFETY: reads one point and writes the other.
        unsafe { blst_p1_to_affine(&mut affine, &sum) };
        Self(affine)
    }

    /// The sum of multiples; see [`SignaturePoint::sum_of_multiples`].
    pub(crate) fn sum_of_multiples(points: &[blst_p1_affine], scalars_le: &[u8], scalar_bits: usize) -> Self {
        check_scalars(points.len(), scalars_le, scalar_bits);
        let mut sum = Default::default();
        // SAFETY: a pure function of the count.
        let mut scratch = vec![0 as limb_t; unsafe { blst_p1s_mult_pippenger_scratch_sizeof(points.len()) } / 8];
        let (list, scalars) = ([points.as_ptr(), ptr::null()], [scalars_le.as_ptr(), ptr::null()]);
        // SAFETY: both lists lie side by side with the lengths checked above; the scratch has the size asked for.
        unsafe {
            blst_p1s_mult_pippenger(
                &mut sum,
                list.as_ptr(),
                points.len(),
                scalars.as_ptr(),
                scalar_bits,
                scratch.as_mut_ptr(),
            );
        };
        let mut affine = blst_p1_affine::default();
        // SAFETY: reads one point and writes the other.
        unsafe { blst_p1_to_affine(&mut affine, &sum) };
        Self(affine)
    }
}

/// A point of G2: a signature or a sum of signatures.
#[derive(Clone, Copy)]
pub(crate) struct SignaturePoint(pub(crate) blst_p2_affine);

impl SignaturePoint {
    /// A compressed signature; `None` unless it is canonical, in G2 and not infinity.
    pub(crate) fn decode(bytes: &[u8; 96]) -> Option<Self> {
        let mut point = blst_p2_affine::default();
        // SAFETY: the function reads exactly 96 bytes.
        let result = unsafe { blst_p2_uncompress(&mut point, bytes.as_ptr()) };
        let point = Self(point);
        // SAFETY: reads the point, which is on the curve after a successful decode.
        let usable = || !point.is_infinity() && unsafe { blst_p2_affine_in_g2(&point.0) };
        (result == BLST_ERROR::BLST_SUCCESS && usable()).then_some(point)
    }

    pub(crate) fn compress(&self) -> [u8; 96] {
        let mut out = [0; 96];
        // SAFETY: 96 bytes are written.
        unsafe { blst_p2_affine_compress(out.as_mut_ptr(), &self.0) };
        out
    }

    pub(crate) fn is_infinity(&self) -> bool {
        // SAFETY: reads the point only.
        unsafe { blst_p2_affine_is_inf(&self.0) }
    }

    /// This many times the point, which is in G2: blst takes the scalar apart by its endomorphism.
    pub(crate) fn times(&self, scalar: &Scalar) -> Self {
        let (mut point, mut multiple) = (blst_p2::default(), blst_p2::default());
        // SAFETY: the points are valid, and the scalar has the 32 bytes that this number of bits takes.
        unsafe {
            blst_p2_from_affine(&mut point, &self.0);
            blst_p2_mult(&mut multiple, &point, scalar.le_bytes().as_ptr(), SCALAR_BITS);
        }
        Self::from_sum(&multiple)
    }

    /// Its negative where the flag is set.
    pub(crate) fn negative_if(mut self, flag: bool) -> Self {
        let y = self.0.y;
        // SAFETY: two valid elements of the field.
        unsafe { blst_fp2_cneg(&mut self.0.y, &y, flag) };
        self
    }

    /// The plain sum; infinity for no points.
    pub(crate) fn sum(points: &[blst_p2_affine]) -> Self {
        let mut sum = blst_p2::default();
        if !points.is_empty() {
            let list = [points.as_ptr(), ptr::null()];
            // SAFETY: a null after the first pointer means that the points lie side by side; there are `len` of them.
            unsafe { blst_p2s_add(&mut sum, list.as_ptr(), points.len()) };
        }
        Self::from_sum(&sum)
    }

    /// The sum of each point times its scalar. Scalars are little-endian, side by side, each in whole bytes.
    ///
    /// Not constant time: for public scalars only.
    pub(crate) fn sum_of_multiples(points: &[blst_p2_affine], scalars_le: &[u8], scalar_bits: usize) -> Self {
        check_scalars(points.len(), scalars_le, scalar_bits);
        let mut sum = blst_p2::default();
        // SAFETY: a pure function of the count.
        let mut scratch = vec![0 as limb_t; unsafe { blst_p2s_mult_pippenger_scratch_sizeof(points.len()) } / 8];
        let (list, scalars) = ([points.as_ptr(), ptr::null()], [scalars_le.as_ptr(), ptr::null()]);
        // SAFETY: both lists lie side by side with the lengths checked above; the scratch has the size asked for.
        unsafe {
            blst_p2s_mult_pippenger(
                &mut sum,
                list.as_ptr(),
                points.len(),
                scalars.as_ptr(),
                scalar_bits,
                scratch.as_mut_ptr(),
            );
        };
        Self::from_sum(&sum)
    }

    fn from_sum(sum: &blst_p2) -> Self {
        let mut affine = blst_p2_affine::default();
        // SAFETY: reads one point and writes the other.
        unsafe { blst_p2_to_affine(&mut affine, sum) };
        Self(affine)
    }
}

/// An element of the field that the coordinates of G2 are from. All operations are constant time.
#[derive(Clone, Copy)]
pub(crate) struct Fp2(blst_fp2);

impl Fp2 {
    pub(crate) const ZERO: Self = Self(blst_fp2 { fp: [blst_fp { l: [0; 6] }; 2] });

    /// 1, from the generator, whose z it is.
    pub(crate) fn one() -> Self {
        // SAFETY: the function gives a constant of the library.
        Self(unsafe { (*blst_p2_generator()).z })
    }

    pub(crate) fn minus(&self, other: &Self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: three valid elements.
        unsafe { blst_fp2_sub(&mut out.0, &self.0, &other.0) };
        out
    }

    pub(crate) fn times(&self, other: &Self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: as for `minus`.
        unsafe { blst_fp2_mul(&mut out.0, &self.0, &other.0) };
        out
    }

    pub(crate) fn squared(&self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: two valid elements.
        unsafe { blst_fp2_sqr(&mut out.0, &self.0) };
        out
    }

    /// The inverse; 0 for 0.
    pub(crate) fn inverse(&self) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: as for `squared`.
        unsafe { blst_fp2_inverse(&mut out.0, &self.0) };
        out
    }

    /// Its negative for 1, itself for 0.
    pub(crate) fn negative_if(&self, flag: u64) -> Self {
        let mut out = Self::ZERO;
        // SAFETY: as for `squared`.
        unsafe { blst_fp2_cneg(&mut out.0, &self.0, flag == 1) };
        out
    }

    fn conjugate(&self) -> Self {
        let [real, imaginary] = self.0.fp;
        let mut out = Self(blst_fp2 { fp: [real, blst_fp { l: [0; 6] }] });
        // SAFETY: two valid elements of the base field.
        unsafe { blst_fp_cneg(&mut out.0.fp[1], &imaginary, true) };
        out
    }

    fn from_bendian(real: &[u8; 48], imaginary: &[u8; 48]) -> Self {
        let mut out = Self::ZERO;
        for (part, bytes) in out.0.fp.iter_mut().zip([real, imaginary]) {
            // SAFETY: the function reads exactly 48 bytes.
            unsafe { blst_fp_from_bendian(part, bytes.as_ptr()) };
        }
        out
    }
}

impl DefaultIsZeroes for Fp2 {}

impl Default for Fp2 {
    fn default() -> Self {
        Self::ZERO
    }
}

/// The limbs of the coordinates, in the order in which [`point_of`] takes them.
pub(crate) fn limbs(point: &blst_p2_affine) -> [[u64; 6]; 4] {
    [point.x.fp[0].l, point.x.fp[1].l, point.y.fp[0].l, point.y.fp[1].l]
}

/// The coordinates with these limbs.
pub(crate) fn point_of(limbs: &[[u64; 6]; 4]) -> [Fp2; 2] {
    let pair = |at: usize| Fp2(blst_fp2 { fp: [blst_fp { l: limbs[at] }, blst_fp { l: limbs[at + 1] }] });
    [pair(0), pair(2)]
}

/// The map of G2 that multiplies a point by -z at the cost of two multiplications in the field.
pub(crate) struct Psi([Fp2; 2]);

impl Psi {
    pub(crate) fn new() -> Self {
        let x = Fp2::from_bendian(&[0; 48], &PSI_X);
        Self([x, Fp2::from_bendian(&PSI_Y[0], &PSI_Y[1])])
    }

    /// z times an affine point.
    pub(crate) fn times_z(&self, [x, y]: &[Fp2; 2]) -> [Fp2; 2] {
        [x.conjugate().times(&self.0[0]), y.conjugate().times(&self.0[1]).negative_if(1)]
    }
}

/// A point of G2 as sums keep it: x and y with the denominators apart.
///
/// How the denominators came about says something of the scalars, so sums of secret multiples are wiped.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub(crate) struct Sum(blst_p2);

impl DefaultIsZeroes for Sum {}

impl Sum {
    /// Constant time, and right for any two points.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        let mut out = blst_p2::default();
        // SAFETY: three valid points.
        unsafe { blst_p2_add_or_double(&mut out, &self.0, &other.0) };
        Self(out)
    }

    /// As [`Sum::plus`].
    pub(crate) fn plus_affine(&self, [x, y]: &[Fp2; 2]) -> Self {
        let mut out = blst_p2::default();
        // SAFETY: three valid points.
        unsafe { blst_p2_add_or_double_affine(&mut out, &self.0, &blst_p2_affine { x: x.0, y: y.0 }) };
        Self(out)
    }

    pub(crate) fn doubled(&self) -> Self {
        let mut out = blst_p2::default();
        // SAFETY: two valid points.
        unsafe { blst_p2_double(&mut out, &self.0) };
        Self(out)
    }

    pub(crate) fn negative(mut self) -> Self {
        // SAFETY: a valid point.
        unsafe { blst_p2_cneg(&mut self.0, true) };
        self
    }

    pub(crate) fn is_infinity(&self) -> bool {
        // SAFETY: reads the point only.
        unsafe { blst_p2_is_inf(&self.0) }
    }

    /// All of them with their denominators divided out, by one division.
    pub(crate) fn to_affine(sums: &[Self]) -> Vec<blst_p2_affine> {
        let mut out = vec![blst_p2_affine::default(); sums.len()];
        if !sums.is_empty() {
            let list = [sums.as_ptr().cast::<blst_p2>(), ptr::null()];
            // SAFETY: a null after the first pointer means that the points lie side by side, which `repr(transparent)`
            // gives; there are `len` of them, and as many places.
            unsafe { blst_p2s_to_affine(out.as_mut_ptr(), list.as_ptr(), sums.len()) };
        }
        out
    }
}

/// SHA-256 by the code that blst carries anyway.
pub(crate) fn sha256(message: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    // SAFETY: pointer and length belong together, and 32 bytes are written.
    unsafe { blst_sha256(out.as_mut_ptr(), message.as_ptr(), message.len()) };
    out
}

fn check_scalars(points: usize, scalars_le: &[u8], scalar_bits: usize) {
    assert!(points > 0, "a sum of multiples has at least one point");
    assert_eq!(scalars_le.len(), points * scalar_bits.div_ceil(8), "each point has its scalar");
}

const _: () = assert!(size_of::<limb_t>() == 8, "scratch sizes are divided by the size of a limb");
