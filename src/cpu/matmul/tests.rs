use super::{Matrix, MatrixMut, multiply, widen};
use crate::cpu::simd::{Isa, bits};
use crate::registry::DType;

fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// A matrix of random numbers in some storage, with rows or columns side by side and gaps of NaN.
struct Stored {
    words: Vec<u16>,
    dtype: DType,
    rows: usize,
    columns: usize,
    strides: (usize, usize),
}

impl Stored {
    fn new(seed: u64, dtype: DType, rows: usize, columns: usize, order: usize) -> Stored {
        let strides = match order {
            0 => (columns + 3, 1),
            1 => (1, rows + 5),
            _ => (2 * columns, 2),
        };
        let values = random(seed, rows * columns);
        let last = rows.saturating_sub(1) * strides.0 + columns.saturating_sub(1) * strides.1;
        let mut words = vec![u16::MAX; (last + 1) * dtype.size() / 2];
        for i in 0..rows {
            for j in 0..columns {
                let at = i * strides.0 + j * strides.1;
                let value = values[i * columns + j];
                match dtype {
                    DType::F32 => {
                        words[2 * at] = value.to_bits() as u16;
                        words[2 * at + 1] = (value.to_bits() >> 16) as u16;
                    }
                    DType::F16 => words[at] = bits::f32_to_f16(value),
                    DType::Bf16 => words[at] = bits::f32_to_bf16(value),
                }
            }
        }
        Stored { words, dtype, rows, columns, strides }
    }

    fn view(&self) -> Matrix<'_> {
        let (rows, columns) = self.strides;
        // SAFETY: `new` made it so.
        unsafe { Matrix::new(self.words.as_ptr().cast(), self.dtype, self.rows, self.columns, rows, columns) }
    }

    fn get(&self, i: usize, j: usize) -> f64 {
        let at = i * self.strides.0 + j * self.strides.1;
        let value = match self.dtype {
            DType::F32 => {
                f32::from_bits(u32::from(self.words[2 * at]) | u32::from(self.words[2 * at + 1]) << 16)
            }
            DType::F16 => bits::f16_to_f32(self.words[at]),
            DType::Bf16 => bits::bf16_to_f32(self.words[at]),
        };
        value.into()
    }
}

fn check(isa: Isa, a: &Stored, b: &Stored, alpha: f32, beta: f32) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    let stride = n + 2;
    let before = if beta == 0.0 { vec![f32::NAN; m * stride] } else { random(9, m * stride) };
    let mut c = before.clone();
    multiply(isa, alpha, a.view(), b.view(), beta, MatrixMut::of(&mut c, m, n, stride));
    for i in 0..m {
        for j in 0..stride {
            let (got, was) = (c[i * stride + j], before[i * stride + j]);
            if j >= n {
                assert_eq!(got.to_bits(), was.to_bits(), "wrote between the rows");
                continue;
            }
            let old = if beta == 0.0 { 0.0 } else { f64::from(beta) * f64::from(was) };
            let (mut sum, mut size) = (0.0, old.abs());
            for p in 0..if alpha == 0.0 { 0 } else { k } {
                let product = f64::from(alpha) * a.get(i, p) * b.get(p, j);
                sum += product;
                size += product.abs();
            }
            let error = (f64::from(got) - (sum + old)).abs();
            let bound = size * (k as f64 + 4.0).sqrt() * 1.2e-7;
            assert!(error <= bound, "{isa:?} {m}x{n}x{k} at {i},{j}: {got} instead of {}", sum + old);
        }
    }
}

const TYPES: [DType; 3] = [DType::F32, DType::F16, DType::Bf16];

#[test]
fn shapes_types_and_strides() {
    let shapes = [(1, 1, 1), (3, 5, 7), (14, 32, 16), (15, 33, 17), (29, 31, 2), (13, 70, 300), (64, 64, 64)];
    for isa in Isa::available() {
        for (x, &(m, n, k)) in shapes.iter().enumerate() {
            for orders in 0..9 {
                let (ta, tb) = (TYPES[(x + orders) % 3], TYPES[(x + orders / 3) % 3]);
                let a = Stored::new(1, ta, m, k, orders % 3);
                let b = Stored::new(2, tb, k, n, orders / 3);
                check(isa, &a, &b, 1.0, 0.0);
            }
        }
    }
}

#[test]
fn more_than_one_panel() {
    for isa in Isa::available() {
        for orders in 0..4 {
            let a = Stored::new(3, DType::F32, 259, 513, orders % 2);
            let b = Stored::new(4, TYPES[orders % 3], 513, 521, orders / 2);
            check(isa, &a, &b, 1.0, 0.0);
        }
    }
}

#[test]
fn alpha_and_beta() {
    for isa in Isa::available() {
        let a = Stored::new(5, DType::F32, 17, 270, 0);
        let b = Stored::new(6, DType::Bf16, 270, 35, 1);
        for (alpha, beta) in [(1.0, 1.0), (-0.5, 1.0), (2.0, -3.0), (0.0, 0.5), (0.0, 0.0), (1.5, 0.0)] {
            check(isa, &a, &b, alpha, beta);
        }
    }
}

#[test]
fn empty_dimensions() {
    let isa = Isa::detect();
    for (m, n, k) in [(0, 3, 3), (3, 0, 3), (3, 3, 0), (0, 0, 0)] {
        let a = Stored::new(7, DType::F32, m, k, 0);
        let b = Stored::new(8, DType::F32, k, n, 0);
        check(isa, &a, &b, 1.0, 0.0);
        check(isa, &a, &b, 1.0, 2.0);
    }
}

#[test]
fn nan_in_an_operand_stays_in_its_row() {
    for isa in Isa::available() {
        let mut a = random(1, 20 * 40);
        a[5 * 40 + 3] = f32::NAN;
        let b = random(2, 40 * 50);
        let mut c = vec![0.0; 20 * 50];
        multiply(
            isa,
            1.0,
            Matrix::of(&a, 20, 40, 40),
            Matrix::of(&b, 40, 50, 50),
            0.0,
            MatrixMut::of(&mut c, 20, 50, 50),
        );
        for (i, row) in c.chunks(50).enumerate() {
            assert!(row.iter().all(|v| v.is_nan() == (i == 5)));
        }
    }
}

/// A tile's elements are those of the whole product, bit for bit.
#[test]
fn does_not_depend_on_the_tiles() {
    for isa in Isa::available() {
        let (m, n, k) = (90, 140, 600);
        let a = Stored::new(1, DType::Bf16, m, k, 0);
        let b = Stored::new(2, DType::F16, k, n, 1);
        let mut whole = vec![0.0; m * n];
        multiply(isa, 1.0, a.view(), b.view(), 0.0, MatrixMut::of(&mut whole, m, n, n));
        let mut tiled = vec![f32::NAN; m * n];
        let mut c = MatrixMut::of(&mut tiled, m, n, n);
        for i in (0..m).step_by(37) {
            for j in (0..n).step_by(51) {
                let (rows, columns) = (i..m.min(i + 37), j..n.min(j + 51));
                let left = a.view().block(rows.clone(), 0..k);
                let right = b.view().block(0..k, columns.clone());
                multiply(isa, 1.0, left, right, 0.0, c.block(rows, columns));
            }
        }
        assert!(whole.iter().zip(&tiled).all(|(x, y)| x.to_bits() == y.to_bits()));
    }
}

#[test]
fn widens_blocks() {
    for isa in Isa::available() {
        for dtype in TYPES {
            for order in 0..3 {
                let from = Stored::new(1, dtype, 7, 1100, order);
                let mut to = vec![f32::NAN; 7 * 1200];
                widen(isa, from.view(), MatrixMut::of(&mut to, 7, 1100, 1200));
                for i in 0..7 {
                    for j in 0..1200 {
                        let value = f64::from(to[i * 1200 + j]);
                        assert!(if j < 1100 { value == from.get(i, j) } else { value.is_nan() });
                    }
                }
            }
        }
    }
}
