//! The widest SIMD of the machine for plain loops, and threads for long ones.
//!
//! A formula is written once, for one element, and inlined into a loop inside [`run`]; the compiler makes one copy of the loop
//! for each instruction set that `pulp` knows. Neither IEEE 754 nor the compiler lets an element's bits depend on which copy ran.

use std::ops::Range as Span;

use rayon::prelude::*;

/// Elements that are worked on at a time. Fixed, so that no result depends on the number of threads.
pub const CHUNK: usize = 1 << 16;

/// From this length on a loop is shared among threads: it takes about ten times as long as starting them.
const PARALLEL: usize = 4 * CHUNK;

/// Run `work` with the widest SIMD there is.
#[inline]
pub(crate) fn run<R>(work: impl FnOnce() -> R) -> R {
    #[cfg(test)]
    if let Some(width) = width::forced() {
        return width.run(work);
    }
    pulp::Arch::new().dispatch(work)
}

/// [`run`] for work that wants to know whether `f64::mul_add` is an instruction; elsewhere it is a slow function.
///
/// Only where the product is exact does that leave the bits alone.
#[inline]
pub(crate) fn run_fused<R>(work: impl FnOnce(bool) -> R) -> R {
    #[cfg(test)]
    if let Some(width) = width::forced() {
        return width.run(
            #[inline(always)]
            || work(width.is_fused()),
        );
    }
    pulp::Arch::new().dispatch(Fused(work))
}

struct Fused<F>(F);

impl<R, F: FnOnce(bool) -> R> pulp::WithSimd for Fused<F> {
    type Output = R;

    #[inline(always)]
    fn with_simd<S: pulp::Simd>(self, simd: S) -> R {
        // All that `pulp` has of these two beyond scalars; WebAssembly has none.
        let known = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));
        simd.vectorize(
            #[inline(always)]
            || (self.0)(known && !S::IS_SCALAR),
        )
    }
}

/// `dst[i] = map(src[i])`, as far as both reach.
#[inline]
pub(crate) fn map<A: Copy + Sync, B: Send>(src: &[A], dst: &mut [B], map: impl Fn(A) -> B + Copy + Sync) {
    zip(src, dst, |_, src, dst| {
        run(
            #[inline(always)]
            || src.iter().zip(dst).for_each(|(x, y)| *y = map(*x)),
        );
    });
}

/// Call `work(position, src, dst)` for chunks of both, in parallel where they are long; as far as both reach.
pub(crate) fn zip<A: Sync, B: Send>(src: &[A], dst: &mut [B], work: impl Fn(usize, &[A], &mut [B]) + Sync) {
    let len = src.len().min(dst.len());
    let (Some(src), Some(dst)) = (src.get(..len), dst.get_mut(..len)) else { return };
    if len < PARALLEL {
        work(0, src, dst);
    } else {
        let chunks = src.par_chunks(CHUNK).zip(dst.par_chunks_mut(CHUNK));
        chunks.enumerate().for_each(|(i, (src, dst))| work(i * CHUNK, src, dst));
    }
}

/// The chunks of a tensor of `len` elements, in order.
pub(crate) fn chunks(len: usize) -> impl IndexedParallelIterator<Item = Span<usize>> {
    (0..len.div_ceil(CHUNK)).into_par_iter().map(move |i| i * CHUNK..len.min((i + 1) * CHUNK))
}

/// An integer of at most 22 bits that is stored as a float; unlike `as`, this is one addition for a whole vector.
#[inline(always)]
pub(crate) fn small_int(x: f32) -> i32 {
    // 1.5 · 2^23: the sum's lowest mantissa bits are the integer.
    const SHIFT: f32 = 12_582_912.0;
    (x + SHIFT).to_bits().cast_signed().wrapping_sub(SHIFT.to_bits().cast_signed())
}

/// Tests run one computation at every width.
#[cfg(test)]
pub(crate) mod width {
    use std::cell::Cell;

    #[derive(Debug, Clone, Copy)]
    pub(crate) enum Width {
        /// What every CPU of the architecture has.
        Scalar,
        /// AVX2 and FMA.
        #[cfg(target_arch = "x86_64")]
        V3(pulp::x86::V3),
    }

    impl Width {
        pub(super) fn is_fused(self) -> bool {
            !matches!(self, Self::Scalar)
        }

        /// Every width that this machine has.
        pub(crate) fn all() -> Vec<Self> {
            let mut all = vec![Self::Scalar];
            #[cfg(target_arch = "x86_64")]
            all.extend(pulp::x86::V3::try_new().map(Self::V3));
            all
        }

        pub(crate) fn run<R>(self, work: impl FnOnce() -> R) -> R {
            match self {
                Self::Scalar => work(),
                #[cfg(target_arch = "x86_64")]
                Self::V3(simd) => pulp::Simd::vectorize(simd, work),
            }
        }
    }

    thread_local! {
        static FORCED: Cell<Option<Width>> = const { Cell::new(None) };
    }

    pub(super) fn forced() -> Option<Width> {
        FORCED.get()
    }

    /// Run `work` with `width` wherever this thread would choose one.
    pub(crate) fn with<R>(width: Width, work: impl FnOnce() -> R) -> R {
        let before = FORCED.replace(Some(width));
        let result = work();
        FORCED.set(before);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_survive() {
        for i in -(1 << 21)..(1 << 21) {
            #[expect(clippy::cast_precision_loss, reason = "21 bits")]
            let x = i as f32;
            assert_eq!(small_int(x), i);
        }
        assert_eq!(small_int(-0.0), 0);
    }

    #[test]
    fn chunks_cover_everything_once() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 5 * CHUNK + 3] {
            let mut next = 0;
            for span in chunks(len).collect::<Vec<_>>() {
                assert_eq!(span.start, next);
                assert!(span.len() <= CHUNK && !span.is_empty());
                next = span.end;
            }
            assert_eq!(next, len);
        }
    }

    #[test]
    fn zip_stops_at_the_shorter_one() {
        for (from, to) in [(3, 5), (5, 3), (PARALLEL + 7, PARALLEL + 1), (PARALLEL + 1, PARALLEL + 7)] {
            let src = vec![1_u8; from];
            let mut dst = vec![0_u8; to];
            map(&src, &mut dst, |x| x);
            assert!(dst[..from.min(to)].iter().all(|x| *x == 1));
            assert!(dst[from.min(to)..].iter().all(|x| *x == 0));
        }
    }
}
