//! Induced matching of the barcodes of two images, L and G, through that of C = max(L, G).
//!
//! A bar of L with birth cell b is matched to the cell d that kills b in the image persistence L -> C, if b
//! enters L above the value at which d enters C; bars of L and G matched to the same d are matched. In
//! dimension 0 the image pairs of both come out of C's forest, whose components know their eldest voxels in L
//! and in G; in the top dimension they come out of the dual forests of L and G, whose components know their
//! latest cell in C; the middle dimension of volumes is reduced once per barcode and once per image.

use super::arena::{Arena, bytes};
use super::cells::{self, Cells};
use super::grid::Grid;
use super::middle::{self, Problem};
use super::order::Order;
use super::{NONE, OutOfMemory, dual, forest};
use crate::cpu::Cpu;

/// Result for one pair of images.
#[derive(Default)]
pub struct Matched {
    pub loss: f64,
    pub matched: i64,
    pub unmatched: i64,
}

/// What the middle dimension knows of L or of G.
struct Side<'a> {
    order: &'a Order<'a>,
    /// See [`Problem`].
    joining: &'a [u8],
    squares: &'a [u16],
}

/// A finite bar by the ranks of its voxels.
type Bar = [u32; 2];

fn masks(grid: &Grid) -> usize {
    if grid.axes == 3 { grid.voxels } else { 0 }
}

pub fn workspace_bytes(grid: &Grid) -> usize {
    let (n, cells) = (grid.voxels, grid.padded + 1);
    let masks = 2 * bytes::<u8>(masks(grid)) + 3 * bytes::<u16>(masks(grid));
    let top = if grid.axes >= 2 { 4 * bytes::<u32>(cells) + bytes::<Bar>(grid.padded) } else { 0 };
    let middle = match grid.axes {
        3 => 3 * bytes::<u32>(3 * grid.padded) + middle::scratch_bytes(grid),
        _ => 0,
    };
    let first = 3 * Order::scratch_bytes(grid);
    let scratch = first.max(bytes_of_0(grid) + bytes::<f32>(n) + top).max(middle);
    3 * Order::bytes(grid) + masks + scratch
}

fn bytes_of_0(grid: &Grid) -> usize {
    5 * bytes::<u32>(grid.voxels)
}

/// Matches images with no NaN, given by flat index. `gradient` of the loss for the values of `pred`, one place
/// per voxel, is added to. With traffic as of [`Cpu::join`], what does not depend on each other is done side by
/// side.
pub fn matching(
    cpu: &Cpu,
    traffic: usize,
    grid: &Grid,
    pred: impl Fn(usize) -> f32 + Sync,
    target: impl Fn(usize) -> f32 + Sync,
    gradient: Option<&mut [f32]>,
    mut room: Arena,
) -> Result<Matched, OutOfMemory> {
    if grid.voxels == 0 {
        return Ok(Matched::default());
    }
    let [mut of_l, mut of_g, mut of_both] = [(); 3].map(|_| room.part(Order::bytes(grid)));
    let mut joining = [(); 2].map(|_| room.take(masks(grid), 0u8));
    let mut squares = [(); 2].map(|_| room.take(masks(grid), 0u16));
    let both_squares = room.take(masks(grid), 0u16);
    let mut again = room.again();
    let [a, b, c] = [(); 3].map(|_| again.part(Order::scratch_bytes(grid)));
    let (both, (l, g)) = cpu.join(
        traffic,
        || Order::new(grid, |i| pred(i).max(target(i)), &mut of_both, a),
        || (Order::new(grid, &pred, &mut of_l, b), Order::new(grid, &target, &mut of_g, c)),
    );
    let mut again = room.again();
    let (of_0, mut own) = (again.part(bytes_of_0(grid)), again.part(bytes::<f32>(grid.voxels)));
    // The gradient of the top dimension lies apart: both are written at the same time.
    let of_top = gradient.is_some().then(|| own.take(grid.voxels, 0.0));
    let mut score = Score { grid, gradient, result: Matched::default() };
    let mut score_top = Score { grid, gradient: of_top, result: Matched::default() };
    cpu.join(
        traffic,
        || dimension_0(&mut score, [&l, &g], &mut joining, &both, of_0),
        || {
            if grid.axes >= 2 {
                top(&mut score_top, [&l, &g], &mut squares, &both, both_squares, again);
            }
        },
    );
    score.merge(&score_top);
    if grid.axes == 3 {
        let [l, g] =
            [(&l, 0), (&g, 1)].map(|(order, i)| Side { order, joining: joining[i], squares: squares[i] });
        middle(&mut score, &l, &g, &both, both_squares, room)?;
    }
    Ok(score.result)
}

struct Score<'a, 'b> {
    grid: &'a Grid,
    gradient: Option<&'b mut [f32]>,
    result: Matched,
}

impl Score<'_, '_> {
    fn merge(&mut self, other: &Score) {
        self.result.loss += other.result.loss;
        self.result.matched += other.result.matched;
        self.result.unmatched += other.result.unmatched;
        if let (Some(gradient), Some(more)) = (&mut self.gradient, &other.gradient) {
            gradient.iter_mut().zip(&**more).for_each(|(g, more)| *g += more);
        }
    }

    fn add(&mut self, l: &Order, rank: u32, slope: f64) {
        if let Some(gradient) = &mut self.gradient {
            gradient[self.grid.index(l.at[rank as usize])] += slope as f32;
        }
    }

    /// Ends of a bar of L and of one of G that belong together.
    fn end(&mut self, l: &Order, g: &Order, ranks: [u32; 2]) {
        let difference = f64::from(l.value(ranks[0])) - f64::from(g.value(ranks[1]));
        self.result.loss += difference * difference;
        self.add(l, ranks[0], 2.0 * difference);
    }

    fn matched(&mut self, l: &Order, g: &Order, of_l: Bar, of_g: Bar) {
        self.result.matched += 1;
        for (a, b) in of_l.into_iter().zip(of_g) {
            self.end(l, g, [a, b]);
        }
    }

    fn unmatched(&mut self, order: &Order, bar: Bar, is_l: bool) {
        self.result.unmatched += 1;
        let length = f64::from(order.value(bar[0])) - f64::from(order.value(bar[1]));
        self.result.loss += 0.5 * length * length;
        if is_l {
            self.add(order, bar[0], length);
            self.add(order, bar[1], -length);
        }
    }
}

fn dimension_0(
    score: &mut Score,
    [l, g]: [&Order; 2],
    joining: &mut [&mut [u8]; 2],
    both: &Order,
    mut room: Arena,
) {
    let (grid, n) = (score.grid, score.grid.voxels);
    score.result.matched += 1;
    score.end(l, g, [0, 0]);
    let parent = room.take(n, 0u32);
    let [of_l, of_g] = joining;
    let mut deaths = |order: &Order, joining: &mut [u8]| {
        let deaths = room.take(n, NONE);
        forest::components::<false>(grid, order, parent, |merge| {
            if order.differ(merge.younger, merge.last) {
                deaths[merge.younger as usize] = merge.last;
            }
            if let Some(mask) = joining.get_mut(merge.last as usize) {
                *mask |= 1 << merge.code;
            }
        });
        deaths
    };
    let (deaths_l, deaths_g) = (deaths(l, of_l), deaths(g, of_g));
    let mut eldest = |order: &Order| {
        let eldest = room.take(n, 0u32);
        eldest.iter_mut().zip(both.at).for_each(|(e, &position)| *e = order.rank[position as usize]);
        eldest
    };
    let (eldest_l, eldest_g) = (eldest(l), eldest(g));
    forest::components::<true>(grid, both, parent, |merge| {
        let (elder, younger) = (merge.elder as usize, merge.younger as usize);
        let dies = |eldest: &mut [u32]| {
            let ranks = [eldest[elder], eldest[younger]];
            eldest[elder] = ranks[0].min(ranks[1]);
            ranks[0].max(ranks[1])
        };
        let births = [dies(eldest_l), dies(eldest_g)];
        let bars = [deaths_l[births[0] as usize], deaths_g[births[1] as usize]];
        let death = both.value(merge.last);
        let alive = bars[0] != NONE && bars[1] != NONE;
        if alive && l.value(births[0]) > death && g.value(births[1]) > death {
            score.matched(l, g, [births[0], bars[0]], [births[1], bars[1]]);
            deaths_l[births[0] as usize] = NONE;
            deaths_g[births[1] as usize] = NONE;
        }
    });
    for (order, deaths, is_l) in [(l, deaths_l, true), (g, deaths_g, false)] {
        for (birth, &death) in deaths.iter().enumerate().filter(|(_, death)| **death != NONE) {
            score.unmatched(order, [birth as u32, death], is_l);
        }
    }
}

fn top(
    score: &mut Score,
    [l, g]: [&Order; 2],
    squares: &mut [&mut [u16]; 2],
    both: &Order,
    both_squares: &mut [u16],
    mut room: Arena,
) {
    let grid = score.grid;
    let cells = grid.padded + 1;
    let last_both = room.take(cells, NONE);
    let last = room.take(cells, NONE);
    let parent = room.take(cells, 0u32);
    let latest = room.take(cells, 0u32);
    // Bars of L by the cell of C that they are matched to.
    let waiting: &mut [Bar] = room.take(grid.padded, [NONE; 2]);
    dual::last_voxels(grid, both, last_both);
    for ((order, is_l), squares) in [(l, true), (g, false)].into_iter().zip(squares) {
        dual::last_voxels(grid, order, last);
        latest.iter_mut().enumerate().for_each(|(cell, latest)| *latest = cell as u32);
        dual::components::<true>(grid, order, last, parent, |joining| {
            let Some([elder, younger]) = joining.roots else {
                if let Some(mask) = squares.get_mut(joining.rank as usize) {
                    *mask |= 1 << joining.code;
                }
                return;
            };
            let [mut stays, mut dies] = [elder, younger].map(|root| latest[root as usize]);
            if dual::before(last_both, stays, dies) {
                std::mem::swap(&mut stays, &mut dies);
            }
            latest[elder as usize] = stays;
            let bar = [joining.rank, last[younger as usize]];
            if bar[0] == bar[1] || !order.differ(bar[0], bar[1]) {
                return;
            }
            let alive = order.value(bar[0]) > both.value(last_both[dies as usize]);
            let place = &mut waiting[dies as usize];
            if alive && is_l {
                *place = bar;
            } else if alive && place[0] != NONE {
                let bar_l = std::mem::replace(place, [NONE; 2]);
                score.matched(l, order, bar_l, bar);
            } else {
                score.unmatched(order, bar, is_l);
            }
        });
    }
    for &bar in waiting.iter().filter(|bar| bar[0] != NONE) {
        score.unmatched(l, bar, true);
    }
    if grid.axes == 3 {
        dual::components::<false>(grid, both, last_both, parent, |joining| {
            if joining.roots.is_none() {
                both_squares[joining.rank as usize] |= 1 << joining.code;
            }
        });
    }
}

fn middle(
    score: &mut Score,
    l: &Side,
    g: &Side,
    both: &Order,
    both_squares: &[u16],
    mut room: Arena,
) -> Result<(), OutOfMemory> {
    let grid = score.grid;
    let columns = Cells::new(grid, both);
    // By number of the birth edge: ranks of the deaths; by number of a square of C: the birth edge in L.
    let deaths_l = room.take(3 * grid.padded, NONE);
    let deaths_g = room.take(3 * grid.padded, NONE);
    let waiting = room.take(3 * grid.padded, NONE);
    for (side, deaths) in [(l, &mut *deaths_l), (g, &mut *deaths_g)] {
        let rows = Cells::new(grid, side.order);
        let problem = Problem { rows, joining: side.joining, columns: rows, squares: side.squares };
        problem.reduce(grid, room.again(), |edge, square| {
            if side.order.differ(edge >> 3, square >> 4) {
                deaths[cells::number(rows.edge(edge))] = square >> 4;
            }
        })?;
    }
    let image = |side: &Side, room: Arena, alive: &mut dyn FnMut(usize, usize)| {
        let rows = Cells::new(grid, side.order);
        let problem = Problem { rows, joining: side.joining, columns, squares: both_squares };
        problem.reduce(grid, room, |edge, square| {
            if side.order.value(edge >> 3) > both.value(square >> 4) {
                alive(cells::number(rows.edge(edge)), cells::number(columns.square(square)));
            }
        })
    };
    image(l, room.again(), &mut |edge, square| {
        if deaths_l[edge] != NONE {
            waiting[square] = edge as u32;
        }
    })?;
    let birth = |side: &Side, edge: usize| {
        Cells::new(grid, side.order).edge_key(cells::from_number(edge as u32)) >> 3
    };
    image(g, room.again(), &mut |edge, square| {
        let of_l = waiting[square] as usize;
        if deaths_g[edge] != NONE && waiting[square] != NONE {
            let bar_l = [birth(l, of_l), std::mem::replace(&mut deaths_l[of_l], NONE)];
            let bar_g = [birth(g, edge), std::mem::replace(&mut deaths_g[edge], NONE)];
            score.matched(l.order, g.order, bar_l, bar_g);
        }
    })?;
    for (side, deaths, is_l) in [(l, deaths_l, true), (g, deaths_g, false)] {
        for (edge, &death) in deaths.iter().enumerate().filter(|(_, death)| **death != NONE) {
            score.unmatched(side.order, [birth(side, edge), death], is_l);
        }
    }
    Ok(())
}
