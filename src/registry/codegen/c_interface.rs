//! The `extern "C"` side of an entry: options struct, functions, and the documentation that cbindgen
//! carries into the header.

use super::functions::{Function, Param, Pass, Role};
use super::schema::{Element, Entry, Opt, OptValue};
use super::types::{option_constants, option_default, option_rust_type};
use std::fmt::Write;

/// Options struct and its constants; lives in `registry::entries`.
pub fn options(entry: &Entry) -> String {
    let name = &entry.name;
    let mut out = String::new();
    doc(
        &mut out,
        "",
        &format!(
            "Options of {name}. Set the defaults with lk_{name}_options_init(), then change what you need."
        ),
    );
    writeln!(out, "#[repr(C)]\n#[derive(Clone, Copy, Debug)]\npub struct lk_{name}_options {{").unwrap();
    out.push_str("    /// Size of this struct, set by the init function: lets the struct grow in later versions.\n    pub struct_size: usize,\n");
    for option in &entry.options {
        doc(
            &mut out,
            "    ",
            &format!(
                "{}. {}; default {}.",
                capitalise(&option.doc),
                capitalise(&allowed(entry, option)),
                default_text(entry, option)
            ),
        );
        writeln!(out, "    pub {}: {},", option.name, option_rust_type(option)).unwrap();
    }
    out.push_str("}\n");
    for option in &entry.options {
        for (constant, value) in option_constants(entry, option) {
            writeln!(out, "pub const {constant}: i32 = {value};").unwrap();
        }
    }
    out
}

/// The defaults, for the Rust side only.
pub fn options_default(entry: &Entry) -> String {
    let name = &entry.name;
    let mut out = format!(
        "impl lk_{name}_options {{\n    pub const DEFAULT: Self = Self {{ struct_size: size_of::<Self>(), "
    );
    for option in &entry.options {
        write!(out, "{}: {}, ", option.name, option_default(option)).unwrap();
    }
    out.push_str("};\n}\n");
    out
}

pub fn functions(entry: &Entry) -> String {
    let name = &entry.name;
    let mut out = String::new();
    doc(&mut out, "", &format!("Sets the size and the defaults of an options struct of {name}."));
    writeln!(
        out,
        "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn lk_{name}_options_init(opts: *mut lk_{name}_options) {{\n    \
         if !opts.is_null() {{ unsafe {{ opts.write_unaligned(lk_{name}_options::DEFAULT) }} }}\n}}"
    )
    .unwrap();
    workspace_query(entry, &mut out);
    for function in entry.functions() {
        let text = match function.pass {
            Pass::Forward => forward_doc(entry, &function),
            Pass::Backward => backward_doc(entry),
            Pass::ForwardBackward => forward_backward_doc(entry),
        };
        doc(&mut out, "", &text);
        out.push_str(&body(entry, &function));
    }
    out
}

/// What connects an entry's functions to its mathematics; not seen by cbindgen.
pub fn vtable(entry: &Entry) -> String {
    let (name, family) = (&entry.name, &entry.family);
    let path = format!("crate::losses::{family}::{name}");
    let args = format!("unsafe {{ &*args.cast::<entries::{name}::Args>() }}");
    let (cuda, workspace) = if entry.devices.iter().any(|d| d == "cuda") {
        let run = format!("Some(|device, args| {path}::cuda(device, {args}))");
        (run, format!("|args| {path}::cuda_workspace({args})"))
    } else {
        ("None".into(), "|_| 0".into())
    };
    let cpu_workspace = match entry.cpu_workspace {
        true => format!(
            "|args| match {path}::cpu_workspace({args}) {{ 0 => 0, bytes => bytes + super::check::HOST_ALIGN }}"
        ),
        false => "|_| 0".into(),
    };
    format!(
        "static VTABLE_{upper}: Vtable = Vtable {{\n    entry: &entries::{name}::ENTRY,\n    \
         cpu: |cpu, args| {path}::cpu(cpu, &mut unsafe {{ entries::{name}::Call::new(&*args.cast()) }}),\n    \
         cpu_workspace: {cpu_workspace},\n    \
         #[cfg(gpu)]\n    cuda: {cuda},\n    \
         #[cfg(gpu)]\n    \
         cuda_workspace: {workspace},\n}};\n",
        upper = name.to_uppercase(),
    )
}

fn signature(params: &[Param]) -> String {
    params.iter().map(|p| format!("    {}: {},\n", p.name, p.rust_type)).collect()
}

fn workspace_query(entry: &Entry, out: &mut String) {
    let name = &entry.name;
    let params = entry.workspace_query();
    doc(
        out,
        "",
        &format!(
            "Bytes of workspace that any function of {name} needs for these sizes, in memory of the context's device. \
             {}",
            if entry.cpu_workspace {
                "On CUDA it must be aligned to 256 bytes, on the CPU it may lie anywhere."
            } else {
                "On CUDA it must be aligned to 256 bytes; on the CPU none is needed."
            }
        ),
    );
    writeln!(
        out,
        "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn lk_{name}_workspace_size(\n{}) -> lk_status {{",
        signature(&params)
    )
    .unwrap();
    out.push_str(&args_literal(entry, &params, Pass::Forward));
    writeln!(
        out,
        "    unsafe {{ workspace_size(ctx, opts.cast(), &VTABLE_{}, (&raw mut args).cast(), bytes) }}\n}}",
        name.to_uppercase()
    )
    .unwrap();
}

fn body(entry: &Entry, function: &Function) -> String {
    format!(
        "#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn {}(\n{}) -> lk_status {{\n{}    \
         unsafe {{ enter(ctx, opts.cast(), &VTABLE_{}, (&raw mut args).cast()) }}\n}}\n",
        function.symbol,
        signature(&function.params),
        args_literal(entry, &function.params, function.pass),
        entry.name.to_uppercase(),
    )
}

fn args_literal(entry: &Entry, params: &[Param], pass: Pass) -> String {
    let mut out = format!(
        "    let mut args = entries::{0}::Args {{\n        opts: lk_{0}_options::DEFAULT,\n        dtype,\n        pass: Pass::{1} as i32,\n        device_flags: std::ptr::null_mut(),\n",
        entry.name,
        pass.variant()
    );
    for (field, _) in super::types::argument_fields(entry) {
        if matches!(field.as_str(), "dtype" | "pass" | "device_flags") {
            continue;
        }
        let value = match params.iter().find(|p| p.name == field) {
            Some(p) if p.role == Role::SavedIn => format!("{field}.cast_mut()"),
            Some(p) if matches!(p.role, Role::Dim | Role::Stride | Role::WorkspaceBytes) => {
                format!("{field} as u64")
            }
            Some(_) => field.clone(),
            None if entry.dims.iter().any(|d| d.name == field)
                || field.ends_with("_stride")
                || field == "workspace_bytes" =>
            {
                "0".into()
            }
            None if field == "grad_loss" || entry.inputs.iter().any(|i| i.name == field) => {
                "std::ptr::null()".into()
            }
            None => "std::ptr::null_mut()".into(),
        };
        if value == field {
            writeln!(out, "        {field},").unwrap();
        } else {
            writeln!(out, "        {field}: {value},").unwrap();
        }
    }
    out.push_str("    };\n");
    out
}

/// Doc comment; prose is wrapped, lines that begin with a space are left as they are.
pub fn doc(out: &mut String, indent: &str, text: &str) {
    for line in text.trim_end().lines() {
        if line.is_empty() {
            writeln!(out, "{indent}///").unwrap();
        } else if line.starts_with(' ') {
            writeln!(out, "{indent}/// {line}").unwrap();
        } else {
            for part in wrap(line, LINE - indent.len()) {
                writeln!(out, "{indent}/// {part}").unwrap();
            }
        }
    }
}

const LINE: usize = 104;

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().unwrap();
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= width {
            write!(last, " {word}").unwrap();
        } else {
            lines.push(word.into());
        }
    }
    lines
}

fn capitalise(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// Allowed values in the words of the header.
pub fn allowed(entry: &Entry, option: &Opt) -> String {
    match &option.value {
        OptValue::Float { range, also, .. } => {
            let mut text = format!("in {}", range.text);
            for value in also {
                write!(text, " or {value}").unwrap();
            }
            text
        }
        OptValue::Int { min: Some(min), max: Some(max), .. } => format!("{min} to {max}"),
        OptValue::Int { min: Some(min), .. } => format!("at least {min}"),
        OptValue::Int { .. } | OptValue::Uint { .. } => "any integer".into(),
        OptValue::Bool { .. } => "0 or 1".into(),
        OptValue::Reduction { .. } => {
            let names = option.choices().expect("validated").0;
            let names: Vec<String> =
                names.iter().map(|n| format!("LK_REDUCTION_{}", n.to_uppercase())).collect();
            let (last, rest) = names.split_last().expect("there are three at least");
            format!("{} or {last}", rest.join(", "))
        }
        OptValue::Enum { .. } => {
            let names: Vec<String> = option_constants(entry, option).into_iter().map(|(n, _)| n).collect();
            names.join(" or ")
        }
    }
}

pub fn default_text(entry: &Entry, option: &Opt) -> String {
    match &option.value {
        OptValue::Float { default, .. } => format!("{default}"),
        OptValue::Int { default, .. } => default.to_string(),
        OptValue::Bool { default } => u8::from(*default).to_string(),
        OptValue::Uint { default } => default.to_string(),
        OptValue::Reduction { default, .. } => format!("LK_REDUCTION_{}", default.to_uppercase()),
        OptValue::Enum { .. } => option_constants(entry, option)[option.choices().unwrap().1].0.clone(),
    }
}

/// `[rows, classes]`
pub fn shape_text(shape: &[super::schema::Extent]) -> String {
    let extents: Vec<String> = shape.iter().map(|e| e.to_string()).collect();
    format!("[{}]", extents.join(", "))
}

fn element_text(element: Element) -> &'static str {
    match element {
        Element::Float => "dtype",
        Element::F32 => "f32",
        Element::I64 => "int64",
        Element::U8 => "uint8 (0 or 1)",
    }
}

/// A line of the argument table; long texts go on below the text column.
fn argument_line(name: &str, type_text: &str, text: &str) -> String {
    let head = format!("  {name:<15} {type_text:<24} ");
    let indent = " ".repeat(43);
    let mut lines = wrap(text, LINE - indent.len());
    if head.chars().count() > indent.len() {
        lines.insert(0, String::new());
    }
    // No line ends in a space.
    let body = lines.join(&format!("\n{indent}"));
    let text = format!("{head}{body}");
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn forward_doc(entry: &Entry, function: &Function) -> String {
    let mut text = format!("{}.\n\n", entry.summary);
    for line in entry.doc.trim().lines() {
        writeln!(text, "{line}").unwrap();
    }
    writeln!(text, "Source: {}.\n", entry.paper).unwrap();
    for dim in &entry.dims {
        let least = if dim.min > 0 { format!(", at least {}", dim.min) } else { String::new() };
        let enough = dim.capacity.as_ref().map(|c| format!("; {c} is always enough")).unwrap_or_default();
        text.push_str(&argument_line(&dim.name, "size_t", &format!("{}{least}{enough}", dim.doc)));
    }
    for input in &entry.inputs {
        if input.stride {
            let words = format!("elements from one row of {} to the next; 0 = dense", input.name);
            text.push_str(&argument_line(&format!("{}_stride", input.name), "size_t", &words));
        }
    }
    for input in &entry.inputs {
        let kind = format!("{} {}", element_text(input.element), shape_text(&input.shape));
        let mut words = input.doc.clone();
        if let Some(range) = &input.range {
            write!(words, ", in {}", range.text).unwrap();
        }
        if let Some(upper) = &input.index {
            write!(words, ", in [0, {upper})").unwrap();
            if let Some(option) = &input.ignore {
                write!(words, " or {option}").unwrap();
            }
        }
        text.push_str(&argument_line(&input.name, &kind, &words));
    }
    for output in &entry.outputs {
        let mut kind = format!("{} {}", element_text(output.element), shape_text(&output.shape));
        if output.merged.is_some() {
            write!(kind, " or {}", shape_text(&output.shape[1..])).unwrap();
        }
        if output.reduced {
            kind.push_str(" or [1]");
        }
        let mut words = output.doc.clone();
        if let Some(merged) = output.merged_where() {
            write!(words, "; {} where {merged}", shape_text(&output.shape[1..])).unwrap();
        }
        if output.reduced {
            words.push_str("; one value unless reduction is none");
        }
        if let Some(input) = &output.in_place {
            write!(words, "; may be {input} itself").unwrap();
        }
        if let Some(length) = &output.length {
            write!(words, "; the first {length} places are written").unwrap();
        }
        text.push_str(&argument_line(&output.name, &kind, &format!("{words}; NULL = not wanted")));
    }
    if function.params.iter().any(|p| p.role == Role::SavedOut) {
        let kind = format!("f32 {}", shape_text(&entry.saved));
        text.push_str(&argument_line("saved", &kind, "statistics that spare backward a pass, or NULL"));
    }
    text
}

fn backward_doc(entry: &Entry) -> String {
    let gradients: Vec<String> = entry.differentiable().map(|i| format!("grad_{}", i.name)).collect();
    let mut text = format!("Gradient of lk_{}_forward. Arguments as there, and\n", entry.name);
    if !entry.saved.is_empty() {
        text.push_str(&argument_line(
            "saved",
            "f32",
            "what forward saved for the same inputs and options, or NULL",
        ));
    }
    text.push_str(&gradient_lines(entry, &gradients));
    text
}

fn gradient_lines(entry: &Entry, gradients: &[String]) -> String {
    let output = &entry.outputs[0].name;
    let mut text = argument_line(
        "grad_loss",
        "f32",
        &format!("upstream gradient, of the shape of {output}; NULL = ones"),
    );
    for (name, input) in gradients.iter().zip(entry.differentiable()) {
        let stride = if input.stride { " (and stride)" } else { "" };
        let place = if input.in_place { format!("; may be {} itself", input.name) } else { String::new() };
        let words = format!("gradient, of the shape{stride} of {}{place}; NULL = not wanted", input.name);
        text.push_str(&argument_line(name, "dtype", &words));
    }
    text
}

fn forward_backward_doc(entry: &Entry) -> String {
    format!("lk_{0}_forward and lk_{0}_backward in one pass over memory. Arguments as there.\n", entry.name)
}
