//! Plain data that describes an entry to the checks. Offsets point into the entry's `Args` or `Options`.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Pass {
    Forward = 0,
    Backward = 1,
    ForwardBackward = 2,
}

impl Pass {
    pub fn from_code(code: i32) -> Pass {
        match code {
            0 => Pass::Forward,
            1 => Pass::Backward,
            _ => Pass::ForwardBackward,
        }
    }

    pub fn forward(self) -> bool {
        self != Pass::Backward
    }

    pub fn backward(self) -> bool {
        self != Pass::Forward
    }
}

pub struct Entry {
    pub name: &'static str,
    pub args_size: usize,
    pub options_size: usize,
    /// An options struct that holds the defaults.
    pub defaults: *const u8,
    pub dims: &'static [Dim],
    pub options: &'static [Opt],
    pub buffers: &'static [Buffer],
    /// What declarations cannot say about dims and options; gets the `Args`.
    pub check: Option<fn(*const u8) -> super::Result<()>>,
    /// Offset of the reduction in the options.
    pub reduction: Option<usize>,
    pub dtype: usize,
    pub pass: usize,
    pub workspace: usize,
    pub workspace_bytes: usize,
    pub device_flags: usize,
}

// SAFETY: `defaults` points to a constant.
unsafe impl Sync for Entry {}

pub struct Dim {
    pub name: &'static str,
    pub min: u64,
    pub offset: usize,
}

pub struct Opt {
    pub name: &'static str,
    pub offset: usize,
    pub rule: Rule,
}

pub enum Rule {
    Float { low: f64, high: f64, low_open: bool, high_open: bool, also: &'static [f64], text: &'static str },
    Int { min: i64, max: i64 },
    Any,
    Bool,
    Enum { names: &'static [&'static str] },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferRole {
    Input,
    Output,
    /// Written by forward, read by backward.
    Saved,
    GradLoss,
    Gradient,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// Of the call's dtype.
    Float,
    F32,
    I64,
    U8,
}

/// A product, plus a number.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    pub scale: u64,
    pub factors: &'static [Factor],
    pub plus: u64,
}

#[derive(Clone, Copy, Debug)]
pub enum Factor {
    /// The dimension with this index.
    Dim(usize),
    /// The int option with this index.
    Option(usize),
}

/// Most buffers an entry may have; checked when the library is built.
pub const MAX_BUFFERS: usize = 32;

pub struct Buffer {
    pub name: &'static str,
    pub role: BufferRole,
    pub element: Element,
    pub shape: &'static [Extent],
    /// The shape holds for reduction none only; otherwise there is one value.
    pub reduced: bool,
    /// Offset of a bool option, and the value of it that merges the first extent away.
    pub merged: Option<(usize, bool)>,
    pub optional: bool,
    pub stride: Option<usize>,
    pub index: Option<Index>,
    pub range: Option<Range>,
    /// Index of the input this output or gradient may overwrite.
    pub in_place: Option<usize>,
    /// Of a gradient: index of its input.
    pub of: usize,
    pub offset: usize,
}

impl Buffer {
    pub const PLAIN: Buffer = Buffer {
        name: "",
        role: BufferRole::Input,
        element: Element::Float,
        shape: &[],
        reduced: false,
        merged: None,
        optional: false,
        stride: None,
        index: None,
        range: None,
        in_place: None,
        of: 0,
        offset: 0,
    };
}

/// Values lie in [0, extent), or equal the option at `ignore`.
pub struct Index {
    pub extent: Extent,
    pub ignore: Option<usize>,
}

/// Values lie in this interval or are NaN.
pub struct Range {
    pub low: f64,
    pub high: f64,
    pub low_open: bool,
    pub high_open: bool,
    pub text: &'static str,
}
