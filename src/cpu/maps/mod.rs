//! Skeleton "class maps on grids": predictions [images, classes, pixels], where the classes of a pixel lie far
//! apart. One sweep for sums over the pixels of each image and class, one for the gradient that follows from
//! them; between the two the probabilities may wait in the gradient's place. A block of pixels with all its classes
//! stays in cache between the steps of its softmax.

mod block;
mod gradient;
mod kept;
mod sigmoid;
mod softmax;
mod sums;

use crate::cpu::Cpu;
use crate::cpu::parallel::{Blocks, Cells};
use crate::cpu::simd::Simd;
use crate::cpu::storage::STREAM_BYTES;
use crate::cpu::workspace::{Size, Workspace};
use crate::registry::{DType, Error, Floats, FloatsMut, Result};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Over the classes of a pixel.
    Softmax,
    Sigmoid,
    None,
}

impl Activation {
    /// Of an enum option softmax | sigmoid | none.
    pub fn from_code(code: i32) -> Activation {
        match code {
            0 => Activation::Softmax,
            1 => Activation::Sigmoid,
            _ => Activation::None,
        }
    }
}

/// What the prediction is compared with.
#[derive(Clone, Copy)]
pub enum Target<'a> {
    Nothing,
    /// A class per pixel [images, pixels]; pixels with the label `ignore` do not exist.
    Labels {
        labels: &'a [i64],
        ignore: i64,
    },
    /// A value per class and pixel.
    Map(Floats<'a>),
}

/// One class of a vector of pixels.
pub struct Pixels<S: Simd> {
    /// The prediction after the activation.
    pub p: S::F,
    /// 1 - p; for a sigmoid to p's own accuracy.
    pub q: S::F,
    /// log p, for losses that want it.
    pub log_p: S::F,
    /// The target, 0 if there is none.
    pub t: S::F,
}

impl<S: Simd> Pixels<S> {
    /// Those of a class of a softmax: its probability, and where it is the label's.
    #[inline(always)]
    fn labelled(s: S, p: S::F, own: S::M) -> Pixels<S> {
        let one = s.splat(1.0);
        Pixels { p, q: s.sub(one, p), log_p: s.zero(), t: s.only(own, one) }
    }

    #[inline(always)]
    fn only(&self, s: S, which: S::M) -> Pixels<S> {
        let zero = s.zero();
        Pixels {
            p: s.select(which, self.p, zero),
            q: s.select(which, self.q, zero),
            log_p: s.select(which, self.log_p, zero),
            t: s.select(which, self.t, zero),
        }
    }
}

/// The mathematics of a loss that depends on `SUMS` sums over the pixels of each class.
pub trait MapLoss<const SUMS: usize, const FACTORS: usize>: Copy + Sync {
    /// Whether it looks at `log_p`; with a softmax only.
    const LOGS: bool = false;
    /// Whether the slope is affine in p, with one constant for the pixels of the class and one for the others.
    const AFFINE: bool = false;

    /// Adds to a class's sums. Of pixels that do not count all values are 0.
    fn add<S: Simd>(&self, s: S, sums: &mut [S::F; SUMS], x: &Pixels<S>);

    /// Whether the usual form of [`MapLoss::add_labelled`] is wanted, and p is not in the slope.
    fn usual(&self) -> bool {
        true
    }

    /// The same where `x.t` is 1 in the lanes `own` and 0 in the others.
    #[inline(always)]
    fn add_labelled<S: Simd, const USUAL: bool>(
        &self,
        s: S,
        sums: &mut [S::F; SUMS],
        x: &Pixels<S>,
        _own: S::M,
    ) {
        self.add(s, sums, x);
    }

    /// d loss / d p, from factors that are the same for all pixels of a class.
    fn slope<S: Simd>(&self, s: S, factors: &[S::F; FACTORS], x: &Pixels<S>) -> S::F;
}

/// The prediction of a call and what it is compared with.
#[derive(Clone, Copy)]
pub struct Maps<'a> {
    pub images: usize,
    pub classes: usize,
    pub pixels: usize,
    pub pred: Floats<'a>,
    pub activation: Activation,
    pub target: Target<'a>,
}

/// Largest number of classes: labels are compared as f32, which is exact up to here.
const MAX_CLASSES: u64 = 1 << 24;

/// Images cut into chunks of pixels for the threads, by sizes alone.
#[derive(Clone, Copy)]
pub struct Chunks {
    /// Pixels of each but an image's last.
    pixels: usize,
    per_image: usize,
}

impl Chunks {
    fn new(classes: usize, pixels: usize) -> Chunks {
        const ELEMENTS: usize = 64 << 10;
        const PER_IMAGE: usize = 64;
        let each = pixels.div_ceil(PER_IMAGE).max(ELEMENTS / classes.max(1)).next_multiple_of(block::MOST);
        Chunks { pixels: each, per_image: pixels.div_ceil(each) }
    }
}

/// Adds to `size` what [`sums`] takes from the workspace.
pub fn workspace_size(size: Size, images: u64, classes: u64, pixels: u64, sums: u64) -> Size {
    let chunks = Chunks::new(classes as usize, pixels as usize).per_image as u64;
    let values = images.saturating_mul(classes).saturating_mul(sums);
    size.add::<f64>(values.saturating_mul(chunks)).add::<f64>(values)
}

impl Maps<'_> {
    /// Whether the probabilities of all pixels can stand in the gradient's place between the sweeps: to write and
    /// read them is cheaper than the exponentials.
    fn keeps<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
        &self,
        to: FloatsMut,
    ) -> bool {
        let (_, room) = block::size(self.classes);
        !L::LOGS
            && to.dtype == DType::F32
            && match (self.activation, self.target) {
                (Activation::Softmax, Target::Labels { .. }) => room,
                (Activation::Sigmoid, Target::Map(_)) => true,
                _ => false,
            }
    }

    /// Whether what is written there goes around the cache.
    fn streams(&self, to: FloatsMut) -> bool {
        let in_place = to.ptr.cast_const() == self.pred.ptr;
        self.pred.len * to.dtype.size() > STREAM_BYTES && !in_place
    }

    /// Work for the threads: blocks of chunks, numbered through all images.
    fn split(&self, chunks: Chunks) -> Blocks {
        let elements = self.classes * chunks.pixels.min(self.pixels);
        Blocks::new(self.images * chunks.per_image, (16 << 10) / elements.max(1), 1)
    }

    /// Image and pixels of a chunk.
    fn chunk(&self, chunks: Chunks, index: usize) -> (usize, std::ops::Range<usize>) {
        let (image, part) = (index / chunks.per_image, index % chunks.per_image);
        (image, part * chunks.pixels..((part + 1) * chunks.pixels).min(self.pixels))
    }
}

/// The loss's sums of every class of every image: [images, classes, SUMS]. f32 within a block of pixels, f64
/// beyond. Where [`Maps::keeps`] says so, leaves the probabilities in the gradient's place for [`gradient`].
pub fn sums<'w, const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
    cpu: &Cpu,
    loss: &L,
    maps: &Maps,
    workspace: &mut Workspace<'w>,
    gradient: Option<FloatsMut>,
) -> &'w mut [f64] {
    let chunks = Chunks::new(maps.classes, maps.pixels);
    let width = maps.classes * SUMS;
    let partials = workspace.take(maps.images * chunks.per_image * width, 0.0);
    let sums = workspace.take(maps.images * width, 0.0);
    let blocks = maps.split(chunks);
    let cells = Cells::new(partials);
    let keep = gradient.filter(|to| maps.keeps::<SUMS, FACTORS, L>(*to)).map(|to| (to, maps.streams(to)));
    cpu.run(blocks.count, 4 * maps.pred.len, &|b| {
        let sweep = sums::Sums { loss, maps, chunks, range: blocks.range(b), to: cells, keep };
        cpu.isa.dispatch((sweep, [(); SUMS], [(); FACTORS]))
    });
    for (index, part) in partials.chunks_exact(width.max(1)).enumerate() {
        let image = index / chunks.per_image;
        let of_image = &mut sums[image * width..][..width];
        of_image.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    sums
}

/// Writes the gradient of the prediction, which may lie over it. `factors`: [images, classes, FACTORS].
/// `after_sums`: whether [`sums`] has just been given its place.
pub fn gradient<const SUMS: usize, const FACTORS: usize, L: MapLoss<SUMS, FACTORS>>(
    cpu: &Cpu,
    loss: &L,
    maps: &Maps,
    factors: &[f32],
    to: FloatsMut,
    after_sums: bool,
) {
    let chunks = Chunks::new(maps.classes, maps.pixels);
    let blocks = maps.split(chunks);
    let kept = after_sums && maps.keeps::<SUMS, FACTORS, L>(to);
    let stream = maps.streams(to) && !kept;
    cpu.run(blocks.count, 8 * maps.pred.len, &|b| {
        let sweep =
            gradient::Gradient { loss, maps, chunks, range: blocks.range(b), factors, to, stream, kept };
        cpu.isa.dispatch((sweep, [(); SUMS], [(); FACTORS]))
    });
}

/// For `check` of entries.
pub fn check_classes(entry: &str, classes: u64) -> Result<()> {
    if classes <= MAX_CLASSES {
        return Ok(());
    }
    Err(Error::argument(format!("{entry}: argument 'classes' is {classes}, expected at most {MAX_CLASSES}")))
}
