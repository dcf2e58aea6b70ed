//! Every check runs on every instruction set the processor has.

mod conversions;
mod functions;
mod primitives;

use super::{Isa, Kernel};

/// Runs a kernel on every available ISA.
fn on_every_isa<K: Kernel<Output = ()> + Clone>(k: K) {
    for isa in Isa::available() {
        isa.dispatch(k.clone());
    }
}

/// xorshift64*, enough to spread test arguments.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn float(&mut self) -> f32 {
        f32::from_bits(self.next())
    }
}

#[test]
fn names_round_trip_and_scalar_is_always_there() {
    for isa in [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon] {
        assert_eq!(Isa::from_name(isa.name()), Some(isa));
    }
    assert_eq!(Isa::from_name(" AVX2 "), Some(Isa::Avx2));
    assert_eq!(Isa::from_name("sse"), None);
    assert!(Isa::Scalar.is_supported());
    assert!(Isa::detect().is_supported());
}

#[test]
fn dispatch_runs_the_isa_asked_for_or_the_scalar_one() {
    struct Which;
    impl Kernel for Which {
        type Output = Isa;
        fn run<S: super::Simd>(self, _s: S) -> Isa {
            S::ISA
        }
    }
    for isa in [Isa::Scalar, Isa::Avx2, Isa::Avx512, Isa::Neon] {
        let expected = if isa.is_supported() { isa } else { Isa::Scalar };
        assert_eq!(isa.dispatch(Which), expected);
    }
}
