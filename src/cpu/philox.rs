//! Philox 4x32-10 (Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011): random words by their number,
//! the same on every device (`kernels/philox.cuh`).
//!
//! Draw e of a call is word e mod 4 of counter block offset + e div 4 (modulo 2^64), key = seed.

#![allow(dead_code)] // a base for samplers: not every build has an entry for each part of it

use crate::cpu::simd::{Isa, Kernel, Simd};

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];
const ROUNDS: usize = 10;

/// Blocks computed side by side: two vectors of the widest instruction set.
const SIDE_BY_SIDE: usize = 32;
/// Words computed at a time.
pub const CHUNK: usize = 4 * SIDE_BY_SIDE;

/// Words by their number.
#[derive(Clone, Copy, Debug)]
pub struct Philox {
    key: [u32; 2],
    offset: u64,
}

impl Philox {
    pub fn new(seed: u64, offset: u64) -> Philox {
        Philox { key: [seed as u32, (seed >> 32) as u32], offset }
    }

    /// Draw `e`. For many draws in a row see [`Philox::words`].
    pub fn word(&self, e: u64) -> u32 {
        self.block(e / 4)[(e % 4) as usize]
    }

    /// Draws `4 index` to `4 index + 3`.
    #[inline(always)]
    pub fn block(&self, index: u64) -> [u32; 4] {
        let counter = self.offset.wrapping_add(index);
        block([counter as u32, (counter >> 32) as u32, 0, 0], self.key)
    }

    /// Draws `first`, `first + 1` ...
    pub fn words(&self, isa: Isa, first: u64, out: &mut [u32]) {
        self.fill(
            isa,
            first,
            out,
            #[inline(always)]
            |words, out| *out = *words,
        );
    }

    /// Uniform numbers in (0, 1) of these draws.
    pub fn uniforms(&self, isa: Isa, first: u64, out: &mut [f32]) {
        self.fill(
            isa,
            first,
            out,
            #[inline(always)]
            |words, out| {
                for (out, &word) in out.iter_mut().zip(words) {
                    *out = uniform(word);
                }
            },
        );
    }

    /// Standard normal numbers of these draws: numbers 2j and 2j + 1 are the pair of words 2j and 2j + 1.
    pub fn normals(&self, isa: Isa, first: u64, out: &mut [f32]) {
        self.fill(
            isa,
            first,
            out,
            #[inline(always)]
            |words, out| {
                for (out, words) in out.chunks_exact_mut(2).zip(words.chunks_exact(2)) {
                    (out[0], out[1]) = normals(words[0], words[1]);
                }
            },
        );
    }

    /// Fills `out` with what `map` makes of the draws from `first` on, a chunk at a time. The words of a pair
    /// never lie in two chunks, whatever `first`.
    pub fn fill<T: Copy + Default>(
        &self,
        isa: Isa,
        first: u64,
        out: &mut [T],
        map: impl Fn(&[u32; CHUNK], &mut [T; CHUNK]),
    ) {
        isa.dispatch(Fill { from: *self, first, out, map });
    }
}

/// A block of the generator.
#[inline(always)]
pub fn block(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (mut c, mut k) = (counter, key);
    for _ in 0..ROUNDS {
        let [p, q] = [0, 1].map(
            #[inline(always)]
            |i| u64::from(MULTIPLIERS[i]) * u64::from(c[2 * i]),
        );
        c = [(q >> 32) as u32 ^ c[1] ^ k[0], q as u32, (p >> 32) as u32 ^ c[3] ^ k[1], p as u32];
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    c
}

/// (word + 1/2) / 2^32, rounded to f32, but below 1.
#[inline(always)]
pub fn uniform(word: u32) -> f32 {
    let u = ((f64::from(word) + 0.5) * TO_UNIT) as f32;
    if u < 1.0 { u } else { 1.0 - f32::EPSILON / 2.0 }
}

const TO_UNIT: f64 = 1.0 / 4_294_967_296.0;

/// Two standard normal numbers by Box-Muller: sqrt(-2 ln u) times cosine and sine of 2 pi v.
///
/// In f64, by additions, multiplications, a division and a square root alone, so that every processor and
/// instruction set computes the same bits.
#[inline(always)]
pub fn normals(u: u32, v: u32) -> (f32, f32) {
    let radius = (-2.0 * ln_unit(u)).sqrt();
    // 2 pi v = (quarters + rest) pi / 2 with |rest| <= 1/2, exactly.
    let odd = 2 * i64::from(v) + 1; // of 2^33
    let quarters = (odd + (1 << 30)) >> 31;
    let x = (odd - (quarters << 31)) as f64 * (std::f64::consts::FRAC_PI_2 / 2_147_483_648.0);
    let xx = x * x;
    let sine = x * horner(xx, SINE);
    let cosine = horner(xx, COSINE);
    let swap = quarters & 1 == 1;
    let (a, b) = if swap { (sine, cosine) } else { (cosine, sine) };
    // cos(t + pi/2) = -sin t and so on.
    let a = if (quarters + 1) & 2 == 0 { a } else { -a };
    let b = if quarters & 2 == 0 { b } else { -b };
    ((radius * a) as f32, (radius * b) as f32)
}

/// Taylor series to 1e-13 on |x| <= pi/4.
const SINE: [f64; 7] = [
    1.0,
    -1.0 / 6.0,
    1.0 / 120.0,
    -1.0 / 5040.0,
    1.0 / 362_880.0,
    -1.0 / 39_916_800.0,
    1.0 / 6_227_020_800.0,
];
const COSINE: [f64; 8] = [
    1.0,
    -0.5,
    1.0 / 24.0,
    -1.0 / 720.0,
    1.0 / 40_320.0,
    -1.0 / 3_628_800.0,
    1.0 / 479_001_600.0,
    -1.0 / 87_178_291_200.0,
];
/// artanh(f) / f.
const ARTANH: [f64; 9] =
    [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0, 1.0 / 13.0, 1.0 / 15.0, 1.0 / 17.0];

/// Not `mul_add`: it is one operation on some processors and two on others.
#[inline(always)]
fn horner<const N: usize>(x: f64, coefficients: [f64; N]) -> f64 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = sum * x + coefficients[i];
    }
    sum
}

/// ln((word + 1/2) / 2^32) to 1e-13.
#[inline(always)]
pub fn ln_unit(word: u32) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    let bits = ((f64::from(word) + 0.5) * TO_UNIT).to_bits();
    // u = m 2^e with m in [sqrt(1/2), sqrt(2)).
    let e = (bits.wrapping_sub(SQRT_HALF) as i64) >> 52;
    let m = f64::from_bits(bits.wrapping_sub((e << 52) as u64));
    let f = (m - 1.0) / (m + 1.0);
    2.0 * f * horner(f * f, ARTANH) + e as f64 * std::f64::consts::LN_2
}

/// See [`Philox::fill`].
struct Fill<'a, T, M> {
    from: Philox,
    first: u64,
    out: &'a mut [T],
    map: M,
}

impl<T: Copy + Default, M: Fn(&[u32; CHUNK], &mut [T; CHUNK])> Kernel for Fill<'_, T, M> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Fill { from, first, out, map } = self;
        let mut skip = (first % 4) as usize;
        let mut counter = from.offset.wrapping_add(first / 4);
        let (mut words, mut values) = ([0; CHUNK], [T::default(); CHUNK]);
        let mut done = 0;
        while done < out.len() {
            chunk(&mut words, counter, from.key);
            map(&words, &mut values);
            let n = (CHUNK - skip).min(out.len() - done);
            out[done..done + n].copy_from_slice(&values[skip..skip + n]);
            done += n;
            skip = 0;
            counter = counter.wrapping_add(SIDE_BY_SIDE as u64);
        }
    }
}

/// The words of consecutive blocks, computed side by side.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // arrays of the same length are walked side by side by index
fn chunk(words: &mut [u32; CHUNK], counter: u64, key: [u32; 2]) {
    let mut c = [[0u32; SIDE_BY_SIDE]; 4];
    for i in 0..SIDE_BY_SIDE {
        let counter = counter.wrapping_add(i as u64);
        c[0][i] = counter as u32;
        c[1][i] = (counter >> 32) as u32;
    }
    let mut k = key;
    for _ in 0..ROUNDS {
        for i in 0..SIDE_BY_SIDE {
            let p = u64::from(MULTIPLIERS[0]) * u64::from(c[0][i]);
            let q = u64::from(MULTIPLIERS[1]) * u64::from(c[2][i]);
            c[0][i] = (q >> 32) as u32 ^ c[1][i] ^ k[0];
            c[1][i] = q as u32;
            c[2][i] = (p >> 32) as u32 ^ c[3][i] ^ k[1];
            c[3][i] = p as u32;
        }
        k = [k[0].wrapping_add(WEYL[0]), k[1].wrapping_add(WEYL[1])];
    }
    for i in 0..SIDE_BY_SIDE {
        for (j, c) in c.iter().enumerate() {
            words[4 * i + j] = c[i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the authors' Random123.
    #[test]
    fn known_answers() {
        for (counter, key, expected) in [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ] {
            assert_eq!(block(counter, key), expected);
        }
        assert_eq!(Philox::new(0, 0).word(2), 0xbc57_ac4c);
    }

    #[test]
    fn draws_do_not_depend_on_where_they_begin() {
        for (seed, offset) in [(0, 0), (0x1234_5678_9abc_def0, 7), (1, u64::MAX - 3), (5, (1 << 32) - 2)] {
            let from = Philox::new(seed, offset);
            let expected: Vec<u32> = (0..1000).map(|e| from.word(e)).collect();
            for isa in Isa::available() {
                for (first, n) in [(0, 1000), (1, 130), (3, 1), (127, 300), (512, 128), (999, 0)] {
                    let mut words = vec![0; n];
                    from.words(isa, first as u64, &mut words);
                    assert_eq!(words, expected[first..first + n], "{isa:?} {first}");
                    let mut values = vec![0.0; n];
                    from.uniforms(isa, first as u64, &mut values);
                    assert!(values.iter().zip(&words).all(|(&u, &w)| u == uniform(w)));
                    from.normals(isa, first as u64, &mut values);
                    for (i, &z) in values.iter().enumerate() {
                        let e = first + i;
                        let pair = normals(expected[e & !1], expected[e | 1]);
                        assert_eq!(z.to_bits(), if e % 2 == 0 { pair.0 } else { pair.1 }.to_bits());
                    }
                }
            }
        }
    }

    #[test]
    fn uniforms_are_inside() {
        assert_eq!(uniform(0), 2f32.powi(-33));
        assert!(uniform(u32::MAX) < 1.0);
        assert_eq!(uniform(1 << 31), 0.5);
    }

    #[test]
    fn normals_are_accurate() {
        let mut words = vec![0; 20_000];
        Philox::new(3, 0).words(Isa::detect(), 0, &mut words);
        words[..8].copy_from_slice(&[0, 0, u32::MAX, u32::MAX, 1 << 31, 1 << 30, 1, (1 << 31) - 1]);
        let (mut sum, mut squares) = (0.0, 0.0);
        for pair in words.chunks(2) {
            let [u, v] = [pair[0], pair[1]].map(|w| (f64::from(w) + 0.5) / 4_294_967_296.0);
            let (r, t) = ((-2.0 * u.ln()).sqrt(), 2.0 * std::f64::consts::PI * v);
            let (a, b) = normals(pair[0], pair[1]);
            for (got, exact) in [(a, r * t.cos()), (b, r * t.sin())] {
                assert!((f64::from(got) - exact).abs() <= 6e-8 * exact.abs() + 1e-14 * r, "{got} {exact}");
                sum += exact;
                squares += exact * exact;
            }
        }
        let n = words.len() as f64;
        assert!((sum / n).abs() < 4.0 / n.sqrt() && (squares / n - 1.0).abs() < 6.0 / n.sqrt());
    }
}
