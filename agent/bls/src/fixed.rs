//! One message, many secrets: multiples of one point of G2 by a table, in constant time.
//!
//! # The arithmetic
//!
//! Let z be the curve's parameter without its sign, 64 bits long, and P the hashed message, of prime order r = z^4 - z^2 + 1.
//! The map psi of G2 costs two multiplications and is the multiplication by -z. So a secret k is taken apart once,
//! k/2 = k0 + k1 z + k2 z^2 + k3 z^3 (mod r) with pieces below z, and
//!
//! ```text
//! k P = sum of z^i (2 ki + 1) P - C        with C = sum of z^i P for i = 0 to 3, the same for every secret.
//! ```
//!
//! Each 2 ki + 1 is odd, so it has [`WINDOWS`] digits to the base 2^[`WIDTH`] that are all odd and not 0: they are the digits b of
//! ki + 2^([`WIDTH`] [`WINDOWS`] - 1), each read as 2b + 1 - 2^[`WIDTH`]. The table holds the odd multiples of each power of the base.
//! What a piece needs is one addition a digit, and no doubling.
//!
//! # Why additions have no special cases
//!
//! The additions are those of affine points, whose formula holds unless both points have the same x. Before digit j the sum is s P
//! with |s| < 2^(WIDTH j), and what is added is a P with |a| >= 2^(WIDTH j), both far below r / 2: s = a and s = -a are impossible, and
//! neither is 0. So no secret meets an exception, and many lanes share the one division that such an addition needs. The four
//! pieces and C are then put together by blst's complete addition.
//!
//! # Constant time
//!
//! The number of steps depends on how many secrets there are and on nothing else. A table entry is chosen by reading all of its
//! row and keeping one under a mask; digits are cut out by shifts of fixed width; the division of k by z subtracts under a mask.
//! Field and point operations are blst's constant-time ones, its inversion included. This is known by reading the code, ours
//! and blst's, and by counting: on aarch64 sixteen signatures took 11,192,832 instructions under secrets of any shape
//! (`tests/insn-count`). No test holds that count yet.
//!
//! # What is left behind
//!
//! Digits and sums of the lanes tell the secrets. They live in one [`Lanes`] on the stack, which is wiped when it is dropped, as
//! the sums are before their denominators are divided out. What single operations leave in frames that are gone, as blst's own
//! do, is for the caller to overwrite: the vault does.

use zeroize::{Zeroize, Zeroizing};

use crate::raw::{Fp2, MessagePoint, Psi, Scalar, SignaturePoint, Sum, limbs, point_of};

/// The bits of a digit.
const WIDTH: usize = 4;
/// The digits of a piece: with the highest bit, which is always set, a piece has 65 bits.
const WINDOWS: usize = 65_usize.div_ceil(WIDTH);
/// The odd multiples of one power of the base, without sign.
const ROW: usize = 1 << (WIDTH - 1);
/// The pieces of a secret.
const PIECES: usize = 4;
/// How many secrets go through together, so that they share each division.
const TOGETHER: usize = 16;
const LANES: usize = TOGETHER * PIECES;

/// The parameter of the curve, without its sign.
const Z: u64 = 0xd201_0000_0001_0000;
/// The order of the group, lowest limb first.
const ORDER: [u64; 4] = [0xffff_ffff_0000_0001, 0x53bd_a402_fffe_5bfe, 0x3339_d808_09a1_d805, 0x73ed_a753_299d_7d48];

/// Odd multiples of a hashed message, 26 KiB.
pub(crate) struct Table {
    rows: Vec<Row>,
    /// -C.
    correction: Sum,
    psi: Psi,
}

/// The limbs of the points 1, 3, 5 and so on times a power of the base.
type Row = [[[u64; 6]; 4]; ROW];

impl Table {
    /// The table of a message; `None` when it hashes to infinity, which nobody will ever see.
    pub(crate) fn new(message: &MessagePoint) -> Option<Self> {
        let mut base = message.as_sum();
        if base.is_infinity() {
            return None;
        }
        let mut points = Vec::with_capacity(WINDOWS * ROW);
        for _ in 0..WINDOWS {
            let double = base.doubled();
            let mut multiple = base;
            for _ in 0..ROW {
                points.push(multiple);
                multiple = multiple.plus(&double);
            }
            base = (1..WIDTH).fold(double, |power, _| power.doubled());
        }
        let flat: Vec<_> = Sum::to_affine(&points).iter().map(limbs).collect();
        let psi = Psi::new();
        let mut image = point_of(&flat[0]);
        let mut sum = message.as_sum();
        for _ in 1..PIECES {
            image = psi.times_z(&image);
            sum = sum.plus_affine(&image);
        }
        Some(Self { rows: flat.as_chunks().0.to_vec(), correction: sum.negative(), psi })
    }

    /// The signatures of these secrets, given as big-endian bytes, in their order; `None` for what is no secret key.
    pub(crate) fn sign(&self, secrets: &[&[u8; 32]]) -> Vec<Option<SignaturePoint>> {
        let mut signatures = Vec::with_capacity(secrets.len());
        for some in secrets.chunks(TOGETHER) {
            let mut lanes = Lanes::new();
            let usable = lanes.take(some);
            lanes.run(&self.rows);
            let points = Sum::to_affine(&lanes.put_together(self));
            let points = points.into_iter().zip(usable);
            signatures.extend(points.map(|(point, usable)| usable.then_some(SignaturePoint(point))));
        }
        signatures
    }
}

/// The pieces of some secrets on their way to multiples. Wiped when dropped.
struct Lanes {
    used: usize,
    /// Each piece with its highest bit: what the digits are cut from.
    pieces: [u128; LANES],
    sums: [[Fp2; 2]; LANES],
    addends: [[Fp2; 2]; LANES],
    products: [Fp2; LANES],
}

impl Lanes {
    const fn new() -> Self {
        let zero = [Fp2::ZERO; 2];
        Self { used: 0, pieces: [0; LANES], sums: [zero; LANES], addends: [zero; LANES], products: [Fp2::ZERO; LANES] }
    }

    /// Takes the secrets apart, and says which of them are secret keys. What comes of the others means nothing, and harms
    /// nothing: any number has pieces below z.
    fn take(&mut self, secrets: &[&[u8; 32]]) -> [bool; TOGETHER] {
        let mut usable = [false; TOGETHER];
        let mut scalar = Scalar::from_small(0);
        let pieces = self.pieces.as_chunks_mut::<PIECES>().0;
        for ((bytes, pieces), usable) in secrets.iter().zip(pieces).zip(&mut usable) {
            *usable = scalar.set_secret(bytes);
            take_apart(&scalar, pieces);
        }
        self.used = secrets.len() * PIECES;
        usable
    }

    fn run(&mut self, rows: &[Row]) {
        for (window, row) in rows.iter().enumerate() {
            for lane in 0..self.used {
                choose(&mut self.addends[lane], row, digit(self.pieces[lane], window));
            }
            if window == 0 {
                self.sums = self.addends;
            } else {
                self.add();
            }
        }
    }

    /// Adds its addend to each sum, with one division for all: the products of the differences of x, one inverse, and back.
    fn add(&mut self) {
        let mut product = Fp2::one();
        for lane in 0..self.used {
            let [x, y] = &self.sums[lane];
            self.addends[lane] = [self.addends[lane][0].minus(x), self.addends[lane][1].minus(y)];
            self.products[lane] = product;
            product = product.times(&self.addends[lane][0]);
        }
        let mut inverse = product.inverse();
        for lane in (0..self.used).rev() {
            let [across, up] = &self.addends[lane];
            let slope = inverse.times(&self.products[lane]).times(up);
            inverse = inverse.times(across);
            let [x, y] = self.sums[lane];
            // The addend's x is x + across.
            let new_x = slope.squared().minus(&x).minus(&x).minus(across);
            self.sums[lane] = [new_x, slope.times(&x.minus(&new_x)).minus(&y)];
        }
        product.zeroize();
        inverse.zeroize();
    }

    fn put_together(&self, table: &Table) -> Zeroizing<Vec<Sum>> {
        let whole = |pieces: &[[Fp2; 2]; PIECES]| {
            let sum = |sum: Sum, (power, piece): (usize, &[Fp2; 2])| {
                sum.plus_affine(&(0..power).fold(*piece, |image, _| table.psi.times_z(&image)))
            };
            pieces.iter().enumerate().fold(table.correction, sum)
        };
        Zeroizing::new(self.sums[..self.used].as_chunks().0.iter().map(whole).collect())
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        self.pieces.zeroize();
        self.sums.zeroize();
        self.addends.zeroize();
        self.products.zeroize();
    }
}

/// The digit of a piece at a window, as its bits.
fn digit(piece: u128, window: usize) -> u64 {
    (piece >> (window * WIDTH)) as u64 & ((1 << WIDTH) - 1)
}

/// The multiple that a digit names: reads the whole row.
fn choose(out: &mut [Fp2; 2], row: &Row, digit: u64) {
    // Bits below one half name negative multiples, the nearest to 0 last.
    let negative = (digit >> (WIDTH - 1)) ^ 1;
    let index = (digit ^ negative.wrapping_neg()) & (ROW as u64 - 1);
    let mut found = [[0; 6]; 4];
    for (at, entry) in row.iter().enumerate() {
        let difference = at as u64 ^ index;
        // All ones where the difference is 0. The compiler is not told what a mask is, so it cannot make a branch of it.
        let mask = std::hint::black_box((difference | difference.wrapping_neg()) >> 63).wrapping_sub(1);
        for (found, limbs) in found.iter_mut().zip(entry) {
            found.iter_mut().zip(limbs).for_each(|(found, limb)| *found |= limb & mask);
        }
    }
    let [x, y] = point_of(&found);
    *out = [x, y.negative_if(negative)];
    found.zeroize();
}

/// Half the secret, to the base z, each piece with the bit above its highest digit's half set.
fn take_apart(secret: &Scalar, pieces: &mut [u128; PIECES]) {
    let mut number = half(secret);
    for piece in pieces.iter_mut() {
        let rest = divide_by_z(&mut number);
        *piece = u128::from(rest) + (1 << (WIDTH * WINDOWS - 1));
    }
    number.zeroize();
}

/// k/2 modulo the order: half of k, or of k plus the order, which is odd.
fn half(secret: &Scalar) -> [u64; 4] {
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(secret.le_bytes().as_chunks().0) {
        *limb = u64::from_le_bytes(*bytes);
    }
    let odd = std::hint::black_box(limbs[0] & 1).wrapping_neg();
    let mut carry = 0;
    for (limb, order) in limbs.iter_mut().zip(ORDER) {
        let sum = u128::from(*limb) + u128::from(order & odd) + carry;
        *limb = sum as u64;
        carry = sum >> 64;
    }
    // The sum is below 2^256: both parts are below the order, which has 255 bits.
    for at in 0..4 {
        limbs[at] = (limbs[at] >> 1) | (limbs.get(at + 1).copied().unwrap_or(0) << 63);
    }
    limbs
}

/// Divides in place and gives the rest: bit by bit, because a machine's own division takes longer for some numbers.
fn divide_by_z(number: &mut [u64; 4]) -> u64 {
    let mut rest = 0_u64;
    for limb in number.iter_mut().rev() {
        let mut quotient = 0;
        for bit in (0..64).rev() {
            let above = rest >> 63;
            rest = (rest << 1) | ((*limb >> bit) & 1);
            let (less, below) = rest.overflowing_sub(Z);
            let fits = std::hint::black_box(above | (u64::from(below) ^ 1)).wrapping_neg();
            rest = (less & fits) | (rest & !fits);
            quotient = (quotient << 1) | (fits & 1);
        }
        *limb = quotient;
    }
    rest
}
