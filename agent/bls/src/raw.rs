//! The only file that calls blst's C functions: scalars, points and sums of multiples, as safe values.
//!
//! Points leave the `decode` functions only when they are on the curve, in the right subgroup and not the point at
//! infinity. blst's own helpers for sums start a pool of threads at first use; these stay on the calling thread, because
//! the vault may not start one.

#![allow(unsafe_code, reason = "blst's low-level functions take raw pointers; each call says why it is sound")]

use std::mem::size_of;
use std::ptr;

use blst::{
    BLST_ERROR, blst_bendian_from_scalar, blst_hash_to_g2, blst_p1_affine, blst_p1_affine_compress,
    blst_p1_affine_in_g1, blst_p1_affine_is_inf, blst_p1_to_affine, blst_p1_uncompress, blst_p1s_add,
    blst_p1s_mult_pippenger, blst_p1s_mult_pippenger_scratch_sizeof, blst_p2, blst_p2_affine, blst_p2_affine_compress,
    blst_p2_affine_in_g2, blst_p2_affine_is_inf, blst_p2_to_affine, blst_p2_uncompress, blst_p2s_add,
    blst_p2s_mult_pippenger, blst_p2s_mult_pippenger_scratch_sizeof, blst_scalar, blst_scalar_from_be_bytes,
    blst_scalar_from_bendian, blst_scalar_from_uint64, blst_sha256, blst_sign_pk_in_g1, blst_sk_add_n_check,
    blst_sk_check, blst_sk_inverse, blst_sk_mul_n_check, blst_sk_sub_n_check, blst_sk_to_pk_in_g1, limb_t,
};

/// The ciphersuite of the consensus specification: signatures in G2, proof of possession.
pub(crate) const DST: &[u8] = b"BLS_SIG_BLS12381G2_XMD:SHA-256_SSWU_RO_POP_";

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
