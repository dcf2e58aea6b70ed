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
    pub dims: Vec<Dim>,
    /// The one dimension stands for any shape; bindings with shapes flatten and keep it.
    #[serde(default)]
    pub elementwise: bool,
    pub inputs: Vec<Input>,
    #[serde(default)]
    pub options: Vec<Opt>,
    pub outputs: Vec<Output>,
    /// f32 values per element of the first dimension that forward can save for backward.
    #[serde(default)]
    pub saved: u32,
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
    /// Values must lie in [0, this dimension) ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// ... or equal this option.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore: Option<String>,
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
    pub doc: String,
}

/// `dim`, a number, or `k*dim`.
#[derive(Deserialize, Serialize, Clone, Debug)]
#[serde(untagged)]
pub enum Extent {
    Number(u64),
    Expression(String),
}

impl Extent {
    /// As multiple and dimension index; `None` for a plain number.
    pub fn resolve(&self, dims: &[Dim]) -> Result<(u64, Option<usize>), String> {
        match self {
            Extent::Number(k) => Ok((*k, None)),
            Extent::Expression(text) => {
                let (k, dim) = match text.split_once('*') {
                    Some((k, dim)) => {
                        (k.trim().parse().map_err(|_| format!("bad extent '{text}'"))?, dim.trim())
                    }
                    None => (1, text.as_str()),
                };
                let index = dims.iter().position(|d| d.name == dim);
                Ok((k, Some(index.ok_or_else(|| format!("extent '{text}' names no dimension"))?)))
            }
        }
    }
}

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
    Bool {
        default: bool,
    },
    Enum {
        default: String,
        values: Vec<String>,
    },
    /// none | mean | sum
    Reduction {
        default: String,
    },
}

pub const REDUCTIONS: [&str; 3] = ["none", "mean", "sum"];

impl Opt {
    /// The allowed names of an enum-like option and the index of its default.
    pub fn choices(&self) -> Option<(Vec<String>, usize)> {
        let (values, default) = match &self.value {
            OptValue::Enum { default, values } => (values.clone(), default),
            OptValue::Reduction { default } => (REDUCTIONS.map(String::from).to_vec(), default),
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

    fn validate(&self) -> Result<(), String> {
        let extents = self.inputs.iter().map(|i| &i.shape).chain(self.outputs.iter().map(|o| &o.shape));
        for extent in extents.flatten() {
            extent.resolve(&self.dims)?;
        }
        for input in &self.inputs {
            if let Some(dim) = &input.index
                && !self.dims.iter().any(|d| d.name == *dim)
            {
                return Err(format!("input {}: index names no dimension", input.name));
            }
            if let Some(option) = &input.ignore
                && !self.options.iter().any(|o| o.name == *option)
            {
                return Err(format!("input {}: ignore names no option", input.name));
            }
            if (input.differentiable || input.stride) && input.element != Element::Float {
                return Err(format!("input {}: only float inputs have gradients or strides", input.name));
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
