//! Rust types of an entry: its options struct (part of the C interface), its arguments struct (what
//! kernels receive), its checked view for the CPU, and its descriptor for the checks.

use super::functions::pointer;
use super::schema::{Element, Entry, Factor, Interval, Opt, OptValue, Output};
use std::fmt::Write;

pub fn option_rust_type(option: &Opt) -> &'static str {
    match option.value {
        OptValue::Float { .. } => "f64",
        OptValue::Int { .. } => "i64",
        OptValue::Uint { .. } => "u64",
        OptValue::Bool { .. } => "u8",
        OptValue::Enum { .. } | OptValue::Reduction { .. } => "i32",
    }
}

/// The default as a Rust literal.
pub fn option_default(option: &Opt) -> String {
    match &option.value {
        OptValue::Float { default, .. } => rust_f64(*default),
        OptValue::Int { default, .. } => default.to_string(),
        OptValue::Uint { default } => default.to_string(),
        OptValue::Bool { default } => u8::from(*default).to_string(),
        OptValue::Enum { .. } | OptValue::Reduction { .. } => option.choices().unwrap().1.to_string(),
    }
}

fn rust_f64(value: f64) -> String {
    if value == f64::INFINITY {
        "f64::INFINITY".into()
    } else if value == f64::NEG_INFINITY {
        "f64::NEG_INFINITY".into()
    } else {
        format!("{value:?}")
    }
}

/// Constants of an enum option: `LK_<ENTRY>_<OPTION>_<VALUE>`; `reduction` has shared ones.
pub fn option_constants(entry: &Entry, option: &Opt) -> Vec<(String, usize)> {
    let OptValue::Enum { values, .. } = &option.value else { return Vec::new() };
    let prefix = format!("LK_{}_{}", entry.name, option.name).to_uppercase();
    values.iter().enumerate().map(|(i, v)| (format!("{prefix}_{}", v.to_uppercase()), i)).collect()
}

/// `<name>` module of `registry::entries`: seen by the losses.
pub fn module(entry: &Entry) -> String {
    let name = &entry.name;
    let mut out = String::new();
    writeln!(out, "pub mod {name} {{\nuse super::prelude::*;\npub use super::lk_{name}_options as Options;")
        .unwrap();
    arguments(entry, &mut out);
    view(entry, &mut out);
    descriptor(entry, &mut out);
    out.push_str("}\n");
    out
}

fn arguments(entry: &Entry, out: &mut String) {
    out.push_str("/// What a call carries once its arguments are checked; passed to kernels as it is.\n");
    out.push_str("#[repr(C)]\n#[derive(Clone, Copy)]\npub struct Args {\n    pub opts: Options,\n");
    for (field, rust_type) in argument_fields(entry) {
        writeln!(out, "    pub {field}: {rust_type},").unwrap();
    }
    out.push_str("}\n");
}

/// Fields after `opts`, in memory order, on both sides of the language border.
pub fn argument_fields(entry: &Entry) -> Vec<(String, String)> {
    let mut fields = vec![("dtype".to_string(), "i32".to_string()), ("pass".into(), "i32".into())];
    fields.extend(entry.dims.iter().map(|d| (d.name.clone(), "u64".into())));
    for input in entry.inputs.iter().filter(|i| i.stride) {
        fields.push((format!("{}_stride", input.name), "u64".into()));
    }
    fields.extend(entry.inputs.iter().map(|i| (i.name.clone(), pointer(i.element, false))));
    fields.extend(entry.outputs.iter().map(|o| (o.name.clone(), pointer(o.element, true))));
    if !entry.saved.is_empty() {
        fields.push(("saved".into(), "*mut f32".into()));
    }
    if entry.differentiable().next().is_some() {
        fields.push(("grad_loss".into(), "*const f32".into()));
    }
    for input in entry.differentiable() {
        fields.push((format!("grad_{}", input.name), pointer(input.element, true)));
    }
    fields.push(("workspace".into(), "*mut c_void".into()));
    fields.push(("workspace_bytes".into(), "u64".into()));
    fields.push(("device_flags".into(), "*mut u32".into()));
    fields
}

/// An extent as a Rust expression over `a: &Args`.
fn extent(entry: &Entry, extent: &super::schema::Extent) -> String {
    let product = extent.resolve(entry).expect("validated");
    let mut parts: Vec<String> = product
        .factors
        .iter()
        .map(|factor| match *factor {
            Factor::Dim(i) => format!("a.{} as usize", entry.dims[i].name),
            Factor::Option(i) => format!("a.opts.{}.max(0) as usize", entry.options[i].name),
        })
        .collect();
    if product.scale != 1 || parts.is_empty() {
        parts.insert(0, product.scale.to_string());
    }
    let text = parts.join(" * ");
    if product.plus > 0 { format!("({text} + {})", product.plus) } else { text }
}

/// Product of a shape as a Rust expression over `a: &Args`.
fn shape_length(entry: &Entry, shape: &[super::schema::Extent]) -> String {
    let factors: Vec<String> = shape.iter().map(|e| extent(entry, e)).collect();
    if factors.is_empty() { "1".into() } else { factors.join(" * ") }
}

/// Elements of an output, as a Rust expression over `a: &Args`.
fn output_length(entry: &Entry, output: &Output) -> String {
    let mut length = shape_length(entry, &output.shape);
    if let Some((option, set)) = output.merged_by() {
        let rest = shape_length(entry, &output.shape[1..]);
        let is = if set { "!=" } else { "==" };
        length = format!("if a.opts.{option} {is} 0 {{ {rest} }} else {{ {length} }}");
    }
    if output.reduced {
        let option = &entry.reduction().expect("validated").name;
        length = format!("if a.opts.{option} == 0 {{ {length} }} else {{ 1 }}");
    }
    length
}

fn view(entry: &Entry, out: &mut String) {
    out.push_str("/// A checked call with its buffers in host memory.\npub struct Call<'a> {\n");
    out.push_str("    pub opts: &'a Options,\n    pub pass: Pass,\n");
    let (mut fields, mut inits) = (String::new(), String::new());
    for dim in &entry.dims {
        writeln!(fields, "    pub {}: usize,", dim.name).unwrap();
        writeln!(inits, "        {0}: a.{0} as usize,", dim.name).unwrap();
    }
    for input in &entry.inputs {
        let name = &input.name;
        let length = shape_length(entry, &input.shape);
        let (kind, build) = match input.element {
            Element::Float => {
                // A strided or two-dimensional input is a matrix; its last extent is the row length.
                let (columns, stride) = float_matrix(entry, input);
                (
                    "Floats<'a>".to_string(),
                    format!("floats(a.{name}, a.dtype, {length}, {columns}, {stride})"),
                )
            }
            element => {
                let t = pointer(element, false).replace("*const ", "");
                (format!("&'a [{t}]"), format!("slice(a.{name}, {length})"))
            }
        };
        if input.optional {
            writeln!(fields, "    pub {name}: Option<{kind}>,").unwrap();
            writeln!(inits, "        {name}: (!a.{name}.is_null()).then(|| {build}),").unwrap();
        } else {
            writeln!(fields, "    pub {name}: {kind},").unwrap();
            writeln!(inits, "        {name}: {build},").unwrap();
        }
    }
    for output in &entry.outputs {
        let name = &output.name;
        let length = output_length(entry, output);
        let (kind, build) = match output.element {
            Element::Float => {
                ("FloatsMut<'a>".to_string(), format!("floats_mut(a.{name}, a.dtype, {length}, {length}, 0)"))
            }
            element => {
                let t = pointer(element, true).replace("*mut ", "");
                (format!("&'a mut [{t}]"), format!("slice_mut(a.{name}, {length})"))
            }
        };
        writeln!(fields, "    pub {name}: Option<{kind}>,").unwrap();
        writeln!(inits, "        {name}: (!a.{name}.is_null()).then(|| {build}),").unwrap();
    }
    if !entry.saved.is_empty() {
        let rows = shape_length(entry, &entry.saved);
        fields.push_str("    pub saved_in: Option<&'a [f32]>,\n    pub saved_out: Option<&'a mut [f32]>,\n");
        writeln!(
            inits,
            "        saved_in: (a.pass == Pass::Backward as i32 && !a.saved.is_null()).then(|| slice(a.saved.cast_const(), {rows})),\n        \
             saved_out: (a.pass == Pass::Forward as i32 && !a.saved.is_null()).then(|| slice_mut(a.saved, {rows})),"
        )
        .unwrap();
    }
    if entry.differentiable().next().is_some() {
        let length = output_length(entry, &entry.outputs[0]);
        fields.push_str("    pub grad_loss: Option<&'a [f32]>,\n");
        writeln!(inits, "        grad_loss: (!a.grad_loss.is_null()).then(|| slice(a.grad_loss, {length})),")
            .unwrap();
    }
    for input in entry.differentiable() {
        let name = format!("grad_{}", input.name);
        let length = shape_length(entry, &input.shape);
        let (columns, stride) = float_matrix(entry, input);
        let (kind, build) = match input.element {
            Element::Float => {
                ("FloatsMut<'a>", format!("floats_mut(a.{name}, a.dtype, {length}, {columns}, {stride})"))
            }
            _ => ("&'a mut [f32]", format!("slice_mut(a.{name}, {length})")),
        };
        writeln!(fields, "    pub {name}: Option<{kind}>,").unwrap();
        writeln!(inits, "        {name}: (!a.{name}.is_null()).then(|| {build}),").unwrap();
    }
    if entry.cpu_workspace {
        fields.push_str("    /// Aligned to 64 bytes, of the size that `cpu_workspace` asked for; what is in it is not known.\n    pub workspace: &'a mut [std::mem::MaybeUninit<u8>],\n");
        inits.push_str("        workspace: slice_mut(a.workspace.cast(), a.workspace_bytes as usize),\n");
    }
    out.push_str(&fields);
    out.push_str("}\nimpl<'a> Call<'a> {\n    /// # Safety\n    /// `a` passed the checks and its buffers are host memory.\n");
    out.push_str("    pub unsafe fn new(a: &'a Args) -> Call<'a> {\n        unsafe { Call {\n        opts: &a.opts,\n        pass: Pass::from_code(a.pass),\n");
    out.push_str(&inits);
    out.push_str("        } }\n    }\n}\n");
}

fn float_matrix(entry: &Entry, input: &super::schema::Input) -> (String, String) {
    let last = input.shape.last().map(std::slice::from_ref).unwrap_or(&[]);
    let columns = shape_length(entry, last);
    let stride = if input.stride { format!("a.{}_stride as usize", input.name) } else { columns.clone() };
    (columns, stride)
}

fn descriptor(entry: &Entry, out: &mut String) {
    writeln!(out, "pub static ENTRY: Entry = Entry {{\n    name: \"{}\",", entry.name).unwrap();
    writeln!(out, "    args_size: size_of::<Args>(), options_size: size_of::<Options>(),").unwrap();
    writeln!(out, "    defaults: &Options::DEFAULT as *const Options as *const u8,").unwrap();
    writeln!(out, "    dims: &[").unwrap();
    for dim in &entry.dims {
        writeln!(
            out,
            "        Dim {{ name: \"{0}\", min: {1}, offset: offset_of!(Args, {0}) }},",
            dim.name, dim.min
        )
        .unwrap();
    }
    writeln!(out, "    ],\n    options: &[").unwrap();
    for option in &entry.options {
        writeln!(
            out,
            "        Opt {{ name: \"{0}\", offset: offset_of!(Options, {0}), rule: {1} }},",
            option.name,
            option_rule(option)
        )
        .unwrap();
    }
    writeln!(out, "    ],\n    buffers: &[").unwrap();
    for buffer in buffers(entry) {
        out.push_str(&buffer);
    }
    let check = match entry.check {
        true => format!(
            "Some(|args| crate::losses::{}::{}::check(unsafe {{ &*args.cast() }}))",
            entry.family, entry.name
        ),
        false => "None".into(),
    };
    let reduction = match entry.reduction() {
        Some(option) => format!("Some(offset_of!(Options, {}))", option.name),
        None => "None".into(),
    };
    writeln!(out, "    ],\n    check: {check},\n    reduction: {reduction},").unwrap();
    writeln!(
        out,
        "    workspace: offset_of!(Args, workspace), workspace_bytes: offset_of!(Args, workspace_bytes),"
    )
    .unwrap();
    writeln!(out, "    dtype: offset_of!(Args, dtype), pass: offset_of!(Args, pass), device_flags: offset_of!(Args, device_flags),\n}};").unwrap();
    out.push_str("const _: () = assert!(ENTRY.buffers.len() <= crate::registry::MAX_BUFFERS);\n");
}

fn option_rule(option: &Opt) -> String {
    match &option.value {
        OptValue::Float { range: interval, also, .. } => {
            format!("Rule::Float {{ {}, also: &{also:?} }}", range(interval))
        }
        OptValue::Int { min, max, .. } => {
            format!("Rule::Int {{ min: {}, max: {} }}", min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX))
        }
        OptValue::Uint { .. } => "Rule::Any".into(),
        OptValue::Bool { .. } => "Rule::Bool".into(),
        OptValue::Enum { .. } | OptValue::Reduction { .. } => {
            format!("Rule::Enum {{ names: &{:?} }}", option.choices().unwrap().0)
        }
    }
}

/// An extent of the descriptor, as Rust.
fn descriptor_extent(entry: &Entry, extent: &super::schema::Extent) -> String {
    let product = extent.resolve(entry).expect("validated");
    format!(
        "Extent {{ scale: {}, factors: &[{}], plus: {} }}",
        product.scale,
        {
            let factors: Vec<String> = product.factors.iter().map(|f| format!("Factor::{f:?}")).collect();
            factors.join(", ")
        },
        product.plus
    )
}

fn range(interval: &Interval) -> String {
    format!(
        "low: {}, high: {}, low_open: {}, high_open: {}, text: \"{}\"",
        rust_f64(interval.low),
        rust_f64(interval.high),
        interval.low_open,
        interval.high_open,
        interval.text
    )
}

fn buffers(entry: &Entry) -> Vec<String> {
    let shape = |shape: &[super::schema::Extent]| {
        let extents: Vec<String> = shape.iter().map(|e| descriptor_extent(entry, e)).collect();
        format!("&[{}]", extents.join(", "))
    };
    let mut all = Vec::new();
    let mut push = |name: &str, role: &str, element: Element, shape: String, rest: String| {
        all.push(format!(
            "        Buffer {{ name: \"{name}\", role: BufferRole::{role}, element: Element::{element:?}, shape: {shape}, offset: offset_of!(Args, {name}), {rest}..Buffer::PLAIN }},\n"
        ));
    };
    for input in &entry.inputs {
        let mut rest = String::new();
        if input.optional {
            rest.push_str("optional: true, ");
        }
        if input.stride {
            write!(rest, "stride: Some(offset_of!(Args, {}_stride)), ", input.name).unwrap();
        }
        if let Some(interval) = &input.range {
            write!(rest, "range: Some(Range {{ {} }}), ", range(interval)).unwrap();
        }
        if let Some(upper) = &input.index {
            let upper = descriptor_extent(entry, upper);
            let ignore = match &input.ignore {
                Some(option) => format!("Some(offset_of!(Options, {option}))"),
                None => "None".into(),
            };
            write!(rest, "index: Some(Index {{ extent: {upper}, ignore: {ignore} }}), ").unwrap();
        }
        push(&input.name, "Input", input.element, shape(&input.shape), rest);
    }
    let variable = |output: &Output| {
        let mut rest = String::new();
        if output.reduced {
            rest.push_str("reduced: true, ");
        }
        if let Some((option, set)) = output.merged_by() {
            write!(rest, "merged: Some((offset_of!(Options, {option}), {set})), ").unwrap();
        }
        rest
    };
    for output in &entry.outputs {
        let mut rest = variable(output);
        if let Some(input) = &output.in_place {
            let index = entry.inputs.iter().position(|i| i.name == *input).expect("validated");
            write!(rest, "in_place: Some({index}), ").unwrap();
        }
        push(&output.name, "Output", output.element, shape(&output.shape), rest);
    }
    if !entry.saved.is_empty() {
        push("saved", "Saved", Element::F32, shape(&entry.saved), String::new());
    }
    if entry.differentiable().next().is_some() {
        let first = &entry.outputs[0];
        push("grad_loss", "GradLoss", Element::F32, shape(&first.shape), variable(first));
    }
    for (i, input) in entry.inputs.iter().enumerate().filter(|(_, i)| i.differentiable) {
        let mut rest = format!("of: {i}, ");
        if input.stride {
            write!(rest, "stride: Some(offset_of!(Args, {}_stride)), ", input.name).unwrap();
        }
        if input.in_place {
            write!(rest, "in_place: Some({i}), ").unwrap();
        }
        push(&format!("grad_{}", input.name), "Gradient", input.element, shape(&input.shape), rest);
    }
    all
}
