//! The declaration of an entry as it stands in `src/losses/<family>/<name>.toml`, and its validation.

use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub name: String,
    /// Folder the declaration was found in.
    #[serde(default)]
    pub family: String,
    /// loss | regulariser | estimator | metric | operator | sampler
    pub kind: String,
    pub summary: String,
    /// Authors, title, year.
    pub paper: String,
    pub doc: String,
    /// Python statements that make a call, where arbitrary inputs of some small sizes are none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub example: String,
    pub dims: Vec<Dim>,
    /// The one dimension stands for any shape; bindings with shapes flatten and keep it.
    #[serde(default)]
    pub elementwise: bool,
    pub inputs: Vec<Input>,
    #[serde(default)]
    pub options: Vec<Opt>,
    pub outputs: Vec<Output>,
    /// What forward can save for backward, in f32 values: a number per element of the first dimension, or
    /// a shape.
    #[serde(default, deserialize_with = "saved_shape")]
    pub saved: Vec<Extent>,
    /// The CPU needs scratch memory from the caller, too: the module has `cpu_workspace`.
    #[serde(default)]
    pub cpu_workspace: bool,
    /// The module has `check`, for what declarations cannot say.
    #[serde(default)]
    pub check: bool,
    #[serde(default = "yes")]
    pub forward_backward: bool,
    #[serde(default = "all_devices")]
    pub devices: Vec<String>,
    #[serde(skip)]
    pub source: PathBuf,
}

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Dim {
    pub name: String,
    #[serde(default)]
    pub min: u64,
    /// Room for results whose number only the call finds out (`length` of outputs), and how much is always
    /// enough: what bindings that allocate for the caller take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity: Option<Extent>,
    pub doc: String,
}

#[derive(Deserialize, Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Element {
    /// f32, f16 or bf16, as the call's dtype says.
    Float,
    F32,
    I64,
    U8,
}

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Input {
    pub name: String,
    #[serde(rename = "type")]
    pub element: Element,
    pub shape: Vec<Extent>,
    pub doc: String,
    #[serde(default)]
    pub differentiable: bool,
    #[serde(default)]
    pub optional: bool,
    /// Rows may be further apart than their length: the C functions take `<name>_stride`.
    #[serde(default)]
    pub stride: bool,
    /// The gradient may be written over the input.
    #[serde(default)]
    pub in_place: bool,
    /// Values must lie in [0, this extent) ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<Extent>,
    /// ... or equal this option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
    /// Float values must lie in this interval (looked at on the CPU only); NaN passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Interval>,
}

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub struct Output {
    pub name: String,
    #[serde(rename = "type")]
    pub element: Element,
    pub shape: Vec<Extent>,
    /// The shape holds for reduction none; mean and sum give one value.
    #[serde(default)]
    pub reduced: bool,
    /// A bool option that merges the first extent away where it is set; `!option`: where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<String>,
    /// May be written over this input: state that comes in and goes out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_place: Option<String>,
    /// The output that tells how many places of the first extent, a capacity, are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<String>,
    pub doc: String,
}

impl Output {
    /// The option of `merged`, and whether it merges where it is set.
    pub fn merged_by(&self) -> Option<(&str, bool)> {
        let text = self.merged.as_deref()?;
        Some(text.strip_prefix('!').map_or((text, true), |option| (option, false)))
    }

    /// "batch is set".
    pub fn merged_where(&self) -> Option<String> {
        self.merged_by().map(|(option, set)| format!("{option} is {}", if set { "set" } else { "not set" }))
    }
}

/// A product of numbers, dimensions and integer options, plus a number: `n`, `2*n`, `rows*classes`, `degree+1`.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(untagged)]
pub enum Extent {
    Number(u64),
    Expression(String),
}

#[derive(Clone, Debug, Default)]
pub struct Product {
    pub scale: u64,
    pub factors: Vec<Factor>,
    pub plus: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// By index.
    Dim(usize),
    Option(usize),
}

impl Extent {
    pub fn resolve(&self, entry: &Entry) -> Result<Product, String> {
        let text = match self {
            Extent::Number(k) => return Ok(Product { scale: *k, ..Product::default() }),
            Extent::Expression(text) => text,
        };
        let (product, plus) = match text.split_once('+') {
            Some((product, plus)) => {
                (product, plus.trim().parse().map_err(|_| format!("bad extent '{text}'"))?)
            }
            None => (text.as_str(), 0),
        };
        let mut result = Product { scale: 1, factors: Vec::new(), plus };
        for part in product.split('*').map(str::trim) {
            let is_option = |o: &Opt| o.name == part && matches!(o.value, OptValue::Int { .. });
            if let Ok(k) = part.parse::<u64>() {
                result.scale *= k;
            } else if let Some(i) = entry.dims.iter().position(|d| d.name == part) {
                result.factors.push(Factor::Dim(i));
            } else if let Some(i) = entry.options.iter().position(is_option) {
                result.factors.push(Factor::Option(i));
            } else {
                return Err(format!("extent '{text}': '{part}' is no dimension and no int option"));
            }
        }
        Ok(result)
    }
}

/// `3` stands for 3 values per element of the first dimension.
fn saved_shape<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<Extent>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Saved {
        PerRow(u64),
        Shape(Vec<Extent>),
    }
    Ok(match Saved::deserialize(from)? {
        Saved::PerRow(0) => Vec::new(),
        // Replaced by the first dimension's name when the entry is validated.
        Saved::PerRow(k) => vec![Extent::Expression(FIRST.into()), Extent::Number(k)],
        Saved::Shape(shape) => shape,
    })
}

const FIRST: &str = "first dimension";

impl std::fmt::Display for Extent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Extent::Number(k) => write!(f, "{k}"),
            Extent::Expression(text) => f.write_str(text),
        }
    }
}

#[derive(Deserialize, Serialize, Clone, Debug)]
pub struct Opt {
    pub name: String,
    #[serde(flatten)]
    pub value: OptValue,
    pub doc: String,
}

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum OptValue {
    Float {
        default: f64,
        /// In interval notation: `(0, inf)`, `[0, 1]`.
        range: Interval,
        /// Single values allowed beside the range.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<f64>,
    },
    Int {
        default: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        min: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<i64>,
    },
    /// All 64 bits: seeds and counters.
    Uint {
        default: u64,
    },
    Bool {
        default: bool,
    },
    Enum {
        default: String,
        values: Vec<String>,
    },
    /// none | mean | sum, and what `also` has (batchmean).
    Reduction {
        default: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        also: Vec<String>,
    },
}

pub const REDUCTIONS: [&str; 3] = ["none", "mean", "sum"];

impl Opt {
    /// The allowed names of an enum-like option and the index of its default.
    pub fn choices(&self) -> Option<(Vec<String>, usize)> {
        let (values, default) = match &self.value {
            OptValue::Enum { default, values } => (values.clone(), default),
            OptValue::Reduction { default, also } => {
                (REDUCTIONS.iter().map(|r| r.to_string()).chain(also.iter().cloned()).collect(), default)
            }
            _ => return None,
        };
        let index = values.iter().position(|v| v == default)?;
        Some((values, index))
    }
}

#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(try_from = "String", into = "String")]
pub struct Interval {
    pub text: String,
    pub low: f64,
    pub high: f64,
    pub low_open: bool,
    pub high_open: bool,
}

impl TryFrom<String> for Interval {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("'{text}' is not an interval such as (0, inf) or [0, 1]");
        let (open, close) = (text.chars().next(), text.chars().last());
        let inner = text.get(1..text.len().saturating_sub(1)).ok_or_else(bad)?;
        let (low, high) = inner.split_once(',').ok_or_else(bad)?;
        let number = |s: &str| s.trim().parse::<f64>().map_err(|_| bad());
        let (low, high) = (number(low)?, number(high)?);
        let low_open = matches!(open, Some('('));
        let high_open = matches!(close, Some(')'));
        if !matches!(open, Some('(' | '[')) || !matches!(close, Some(')' | ']')) {
            return Err(bad());
        }
        Ok(Interval { low, high, low_open, high_open, text })
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> String {
        interval.text
    }
}

fn yes() -> bool {
    true
}

fn all_devices() -> Vec<String> {
    vec!["cpu".into(), "cuda".into()]
}

impl Entry {
    pub fn reduction(&self) -> Option<&Opt> {
        self.options.iter().find(|o| matches!(o.value, OptValue::Reduction { .. }))
    }

    pub fn differentiable(&self) -> impl Iterator<Item = &Input> {
        self.inputs.iter().filter(|i| i.differentiable)
    }

    fn validate(&mut self) -> Result<(), String> {
        if let Some(first) = self.dims.first() {
            let first = first.name.clone();
            for extent in &mut self.saved {
                if matches!(extent, Extent::Expression(text) if text == FIRST) {
                    *extent = Extent::Expression(first.clone());
                }
            }
        }
        let extents = self.inputs.iter().map(|i| &i.shape).chain(self.outputs.iter().map(|o| &o.shape));
        let indices = self.inputs.iter().filter_map(|i| i.index.as_ref());
        let capacities = self.dims.iter().filter_map(|d| d.capacity.as_ref());
        for extent in extents.chain([&self.saved]).flatten().chain(indices).chain(capacities) {
            extent.resolve(self)?;
        }
        for input in &self.inputs {
            if let Some(option) = &input.ignore
                && !self.options.iter().any(|o| o.name == *option)
            {
                return Err(format!("input {}: ignore names no option", input.name));
            }
            if input.range.is_some() && !matches!(input.element, Element::Float | Element::F32) {
                return Err(format!("input {}: only float values have a range", input.name));
            }
            if input.index.is_some() && input.element != Element::I64 {
                return Err(format!("input {}: only int64 values are indices", input.name));
            }
            if input.differentiable && !matches!(input.element, Element::Float | Element::F32) {
                return Err(format!("input {}: only float inputs have gradients", input.name));
            }
            if input.stride && input.element != Element::Float {
                return Err(format!("input {}: only inputs of the call's type have strides", input.name));
            }
        }
        for output in &self.outputs {
            let is_bool = |o: &Opt, name: &str| o.name == name && matches!(o.value, OptValue::Bool { .. });
            if let Some((option, _)) = output.merged_by()
                && !self.options.iter().any(|o| is_bool(o, option))
            {
                return Err(format!("output {}: merged names no bool option", output.name));
            }
            if let Some(input) = &output.in_place
                && !self.inputs.iter().any(|i| i.name == *input)
            {
                return Err(format!("output {}: in_place names no input", output.name));
            }
            if let Some(length) = &output.length {
                let counts =
                    |o: &Output| o.name == *length && o.element == Element::I64 && o.shape.is_empty();
                let is_capacity = |d: &Dim| {
                    d.capacity.is_some() && output.shape.first().is_some_and(|e| e.to_string() == d.name)
                };
                if !self.outputs.iter().any(counts) || !self.dims.iter().any(is_capacity) {
                    return Err(format!(
                        "output {}: length names no single int64 output, or the first extent is no capacity",
                        output.name
                    ));
                }
            }
        }
        for option in &self.options {
            let is_enum = matches!(option.value, OptValue::Enum { .. } | OptValue::Reduction { .. });
            if is_enum && option.choices().is_none() {
                return Err(format!("option {}: the default is not one of the values", option.name));
            }
        }
        if self.outputs.iter().any(|o| o.reduced) && self.reduction().is_none() {
            return Err("an output is reduced but there is no reduction option".into());
        }
        Ok(())
    }
}

/// Reads every declaration below `root` (`src/losses`), ordered by family and name.
pub fn load(root: &Path) -> Result<Vec<Entry>, String> {
    let mut entries = Vec::new();
    for family in subdirectories(root)? {
        let mut files: Vec<_> = std::fs::read_dir(&family)
            .map_err(|e| e.to_string())?
            .filter_map(|f| Some(f.ok()?.path()))
            .filter(|p| p.extension().is_some_and(|e| e == "toml"))
            .collect();
        files.sort();
        for file in files {
            let fail = |e: String| format!("{}: {e}", file.display());
            let text = std::fs::read_to_string(&file).map_err(|e| fail(e.to_string()))?;
            let mut entry: Entry = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
            entry.family = family.file_name().unwrap().to_string_lossy().into_owned();
            entry.source = file.clone();
            entry.validate().map_err(fail)?;
            if file.file_stem().unwrap().to_string_lossy() != entry.name {
                return Err(format!("{}: the file must be named after the entry", file.display()));
            }
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn subdirectories(root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found: Vec<_> = std::fs::read_dir(root)
        .map_err(|e| format!("{}: {e}", root.display()))?
        .filter_map(|f| Some(f.ok()?.path()))
        .filter(|p| p.is_dir())
        .collect();
    found.sort();
    Ok(found)
}
