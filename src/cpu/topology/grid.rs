//! Voxels at padded positions: one unused place beside every row, column and plane, so that a neighbour is a
//! fixed step away and one outside the image is seen by its rank, [`super::NONE`].

/// Voxels of an image at most: cells have 32-bit keys.
pub const MAX_VOXELS: usize = 1 << 28;

/// Directions to neighbours in the order in which the edges to them enter: -z -y -x +x +y +z.
pub const DIRECTIONS: usize = 6;

#[derive(Clone, Copy, Debug)]
pub struct Grid {
    size: [usize; 3],
    /// Axes longer than one voxel; they are the last ones.
    pub axes: usize,
    /// Distance of neighbours along z, y, x.
    pub step: [usize; 3],
    first: usize,
    /// Number of positions.
    pub padded: usize,
    /// Number of voxels.
    pub voxels: usize,
}

impl Grid {
    /// Axes of one voxel change neither the order of cells nor the flat indices, so they are left out.
    pub fn new(depth: usize, height: usize, width: usize) -> Grid {
        let (mut size, mut at) = ([1; 3], 3);
        for extent in [width, height, depth] {
            if extent != 1 {
                at -= 1;
                size[at] = extent;
            }
        }
        let axes = 3 - at;
        let voxels = size.iter().product();
        let step = [(size[1] + 1) * (size[2] + 1), size[2] + 1, 1];
        let first = step[at..].iter().sum();
        let last: usize = (0..3).map(|i| size[i].saturating_sub(1) * step[i]).sum();
        let padded = if voxels == 0 { 0 } else { 2 * first + last + 1 };
        Grid { size, axes, step, first, padded, voxels }
    }

    /// Position of a row of voxels, in the order of flat indices.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        let [depth, height, _] = self.size;
        (0..depth)
            .flat_map(move |z| (0..height).map(move |y| self.first + z * self.step[0] + y * self.step[1]))
    }

    pub fn width(&self) -> usize {
        self.size[2]
    }

    /// Flat index of the voxel at a position.
    pub fn index(&self, position: u32) -> usize {
        let at = position as usize - self.first;
        let (z, rest) = if self.axes == 3 { (at / self.step[0], at % self.step[0]) } else { (0, at) };
        let (y, x) = if self.axes >= 2 { (rest / self.step[1], rest % self.step[1]) } else { (0, rest) };
        (z * self.size[1] + y) * self.size[2] + x
    }

    /// Position of the voxel with a flat index.
    pub fn position(&self, index: usize) -> usize {
        let (row, x) = (index / self.size[2], index % self.size[2]);
        let (z, y) = (row / self.size[1], row % self.size[1]);
        self.first + z * self.step[0] + y * self.step[1] + x
    }

    /// The directions, each with its step, and how many at both ends are along axes there are not.
    pub fn directions(&self) -> ([(u32, i32); DIRECTIONS], usize) {
        let steps = std::array::from_fn(|code| {
            let (axis, sign) = direction(code as u32);
            (code as u32, sign * self.step[axis] as i32)
        });
        (steps, 3 - self.axes)
    }
}

/// Axis and sign of a direction.
pub fn direction(code: u32) -> (usize, i32) {
    if code < 3 { (code as usize, -1) } else { (5 - code as usize, 1) }
}
