//! `losskit_entries.hpp`: options, arguments and functions of each entry for `losskit.hpp`.

use super::functions::{Function, Role};
use super::header::title;
use super::schema::{Element, Entry, Extent, Factor, Opt, OptValue};
use std::fmt::Write;

pub fn header(entries: &[Entry]) -> String {
    let mut out = String::from(
        "// The entries of losskit for C++. Generated from the library's declarations; do not edit.\n\
         // Included by losskit.hpp; losskit.h has the full description of each entry.\n\
         #ifndef LOSSKIT_ENTRIES_HPP\n#define LOSSKIT_ENTRIES_HPP\n\n\
         #include \"losskit.hpp\"\n\nnamespace losskit {\n",
    );
    let mut family = "";
    for entry in entries {
        if entry.family != family {
            family = &entry.family;
            write!(out, "\n// ---- {} ----\n", title(family)).unwrap();
        }
        write!(out, "\n// {}.\n", entry.summary).unwrap();
        options(entry, &mut out);
        arguments(entry, &mut out);
        functions(entry, &mut out);
    }
    out.push_str("\n}  // namespace losskit\n\n#endif  // LOSSKIT_ENTRIES_HPP\n");
    out
}

fn options(entry: &Entry, out: &mut String) {
    let name = &entry.name;
    for option in &entry.options {
        if let OptValue::Enum { values, .. } = &option.value {
            let list: Vec<String> =
                values.iter().enumerate().map(|(i, v)| format!("{} = {i}", identifier(v))).collect();
            writeln!(
                out,
                "enum class {} : std::int32_t {{ {} }};\n",
                enum_name(entry, option),
                list.join(", ")
            )
            .unwrap();
        }
    }
    writeln!(out, "struct {name}_options {{").unwrap();
    for option in &entry.options {
        let (kind, default) = type_and_default(entry, option);
        field(out, &format!("{kind} {} = {default};", option.name), &option.doc);
    }
    writeln!(out, "  lk_{name}_options c_options() const noexcept {{").unwrap();
    writeln!(out, "    lk_{name}_options c;\n    lk_{name}_options_init(&c);").unwrap();
    for option in &entry.options {
        let value = match option.value {
            OptValue::Float { .. } | OptValue::Int { .. } | OptValue::Uint { .. } => option.name.clone(),
            OptValue::Bool { .. } => format!("{} ? 1 : 0", option.name),
            OptValue::Enum { .. } | OptValue::Reduction { .. } => {
                format!("static_cast<std::int32_t>({})", option.name)
            }
        };
        writeln!(out, "    c.{} = {value};", option.name).unwrap();
    }
    out.push_str("    return c;\n  }\n};\n\n");
}

fn enum_name(entry: &Entry, option: &Opt) -> String {
    format!("{}_{}", entry.name, option.name)
}

fn type_and_default(entry: &Entry, option: &Opt) -> (String, String) {
    let limit = |negative, name| format!("{negative}std::numeric_limits<double>::{name}()");
    match &option.value {
        OptValue::Float { default, .. } if default.is_infinite() => {
            ("double".into(), limit(if *default < 0.0 { "-" } else { "" }, "infinity"))
        }
        OptValue::Float { default, .. } => ("double".into(), format!("{default:?}")),
        OptValue::Int { default, .. } if *default == i64::MIN => ("std::int64_t".into(), "INT64_MIN".into()),
        OptValue::Int { default, .. } => ("std::int64_t".into(), default.to_string()),
        OptValue::Uint { default } => ("std::uint64_t".into(), default.to_string()),
        OptValue::Bool { default } => ("bool".into(), default.to_string()),
        // Qualified: inside the struct the member of the same name hides the type.
        OptValue::Enum { default, .. } => {
            let kind = format!("losskit::{}", enum_name(entry, option));
            (kind.clone(), format!("{kind}::{}", identifier(default)))
        }
        OptValue::Reduction { default, .. } => ("Reduction".into(), format!("Reduction::{default}")),
    }
}

/// One struct for all passes: a pass takes what it needs.
fn arguments(entry: &Entry, out: &mut String) {
    writeln!(out, "struct {}_arguments {{", entry.name).unwrap();
    for dim in &entry.dims {
        let enough = dim.capacity.as_ref().map(|c| format!("; {c} is always enough")).unwrap_or_default();
        field(out, &format!("std::size_t {} = 0;", dim.name), &format!("{}{enough}", dim.doc));
    }
    for input in entry.inputs.iter().filter(|i| i.stride) {
        let words = format!("elements from one row of {} to the next; 0 = dense", input.name);
        field(out, &format!("std::size_t {}_stride = 0;", input.name), &words);
    }
    for input in &entry.inputs {
        let words = format!("{}: {}", shape(&input.shape), input.doc.replace("NULL", "leave out"));
        field(out, &format!("{} {} = {{}};", view(input.element, false), input.name), &words);
    }
    for output in &entry.outputs {
        let one = if output.reduced { ", or one element unless reduction is none" } else { "" };
        let less = match output.merged_where() {
            Some(merged) => format!(", {} where {merged}", shape(&output.shape[1..])),
            None => String::new(),
        };
        let length =
            output.length.as_ref().map(|l| format!("; the first {l} are written")).unwrap_or_default();
        let words = format!("{}{less}{one}: {}{length}", shape(&output.shape), output.doc);
        field(out, &format!("{} {} = {{}};", view(output.element, true), output.name), &words);
    }
    if !entry.saved.is_empty() {
        let words = format!("{}: written by forward, spares backward a pass", shape(&entry.saved));
        field(out, "span<float> saved = {};", &words);
    }
    if entry.differentiable().next().is_some() {
        let words = format!("upstream gradient, of the shape of {}; left out = ones", entry.outputs[0].name);
        field(out, "span<const float> grad_loss = {};", &words);
    }
    for input in entry.differentiable() {
        let place = if input.in_place { format!("; may be {} itself", input.name) } else { String::new() };
        let words = format!("of the shape of {}{place}", input.name);
        field(out, &format!("{} grad_{} = {{}};", view(input.element, true), input.name), &words);
    }
    field(
        out,
        "void *workspace = nullptr;",
        if entry.cpu_workspace {
            "of the size that workspace_size() tells"
        } else {
            "memory of the device; not needed on the CPU"
        },
    );
    out.push_str("  std::size_t workspace_bytes = 0;\n};\n\n");
}

fn functions(entry: &Entry, out: &mut String) {
    let name = &entry.name;
    writeln!(out, "struct {name} {{").unwrap();
    writeln!(out, "  static constexpr const char *name = \"{name}\";").unwrap();
    writeln!(out, "  using options = {name}_options;\n  using arguments = {name}_arguments;\n").unwrap();
    out.push_str("#if LOSSKIT_EXCEPTIONS\n");
    for function in entry.functions() {
        let pass = function.pass.name();
        writeln!(
            out,
            "  static void {pass}(const Context &ctx, const arguments &a, const options &o = {{}}) {{\n    \
             try_{pass}(ctx, a, o).or_throw();\n  }}"
        )
        .unwrap();
    }
    out.push_str(
        "  // Uses the sizes in `a` only: its buffers need not exist yet.\n  \
         static std::size_t workspace_size(const Context &ctx, Dtype dtype, const arguments &a, const options &o = {}) {\n    \
         std::size_t bytes = 0;\n    try_workspace_size(ctx, dtype, a, bytes, o).or_throw();\n    return bytes;\n  }\n#endif\n",
    );
    for function in entry.functions() {
        call(entry, &function, out);
    }
    let dims: String = entry.dims.iter().map(|d| format!("a.{}, ", d.name)).collect();
    writeln!(
        out,
        "  static Status try_workspace_size(const Context &ctx, Dtype dtype, const arguments &a, std::size_t &bytes,\n{pad}\
         const options &o = {{}}) {{\n    const auto c = o.c_options();\n    return detail::outcome(\n        \
         lk_{name}_workspace_size(ctx.get(), &c, static_cast<lk_dtype>(dtype), {dims}&bytes));\n  }}\n",
        pad = " ".repeat(35),
    )
    .unwrap();
    check(entry, out);
    out.push_str("};\n");
}

fn call(entry: &Entry, function: &Function, out: &mut String) {
    let arguments: Vec<String> = function
        .params
        .iter()
        .map(|p| match p.role {
            Role::Context => "ctx.get()".into(),
            Role::Options => "&c".into(),
            Role::Dtype => "checked.dtype()".into(),
            Role::Dim | Role::Stride | Role::Workspace | Role::WorkspaceBytes => format!("a.{}", p.name),
            Role::Bytes => "&bytes".into(),
            _ => format!("a.{}.data()", p.name),
        })
        .collect();
    let mut lines = vec![String::new()];
    for argument in arguments {
        let last = lines.last_mut().unwrap();
        if last.len() + argument.len() > 96 {
            lines.push(format!("{argument}, "));
        } else {
            write!(last, "{argument}, ").unwrap();
        }
    }
    let arguments = lines.join("\n        ").replace(" \n", "\n");
    writeln!(
        out,
        "  static Status try_{}(const Context &ctx, const arguments &a, const options &o = {{}}) {{\n    \
         const detail::Check checked = check(a{});\n    if (!checked.status().ok()) return checked.status();\n    \
         const auto c = o.c_options();\n    return detail::outcome({}(\n        {}));\n  }}",
        function.pass.name(),
        if uses_options(entry) { ", o" } else { "" },
        function.symbol,
        arguments.trim_end_matches(", "),
    )
    .unwrap();
}

fn uses_options(entry: &Entry) -> bool {
    let inputs = entry.inputs.iter().map(|i| &i.shape);
    let mut extents = inputs.chain(entry.outputs.iter().map(|o| &o.shape)).chain([&entry.saved]).flatten();
    let is_option = |f: &Factor| matches!(f, Factor::Option(_));
    reduces(entry)
        || merges(entry)
        || extents.any(|e| e.resolve(entry).expect("validated").factors.iter().any(is_option))
}

fn reduces(entry: &Entry) -> bool {
    entry.outputs.iter().any(|o| o.reduced)
}

fn merges(entry: &Entry) -> bool {
    entry.outputs.iter().any(|o| o.merged.is_some())
}

fn check(entry: &Entry, out: &mut String) {
    out.push_str(" private:\n");
    if uses_options(entry) {
        out.push_str("  static detail::Check check(const arguments &a, const options &o) {\n");
        if reduces(entry) {
            let reduction = &entry.reduction().expect("validated").name;
            writeln!(out, "    const bool each = o.{reduction} == Reduction::none;").unwrap();
        }
    } else {
        out.push_str("  static detail::Check check(const arguments &a) {\n");
    }
    out.push_str("    detail::Check check(name);\n    check");
    let mut lines = Vec::new();
    let mut line = |name: &str, shape: &str, stride: String| {
        lines.push(format!(".buffer(\"{name}\", a.{name}, {shape}{stride})"));
    };
    let stride =
        |i: &super::schema::Input| if i.stride { format!(", a.{}_stride", i.name) } else { String::new() };
    for input in &entry.inputs {
        line(&input.name, &extents(entry, &input.shape), stride(input));
    }
    // One element unless the reduction is none; the number of elements is what counts.
    let output_extents = |o: &super::schema::Output| {
        let mut factors = factors(entry, &o.shape);
        if let Some((option, set)) = o.merged_by() {
            factors[0] = format!("({}o.{option} ? 1 : {})", if set { "" } else { "!" }, factors[0]);
        }
        if o.reduced {
            factors.iter_mut().for_each(|f| *f = format!("each ? {f} : 1"));
        }
        format!("{{{}}}", factors.join(", "))
    };
    for output in &entry.outputs {
        line(&output.name, &output_extents(output), String::new());
    }
    if !entry.saved.is_empty() {
        line("saved", &extents(entry, &entry.saved), String::new());
    }
    if entry.differentiable().next().is_some() {
        line("grad_loss", &output_extents(&entry.outputs[0]), String::new());
    }
    for input in entry.differentiable() {
        line(&format!("grad_{}", input.name), &extents(entry, &input.shape), stride(input));
    }
    writeln!(out, "{};\n    return check;\n  }}", lines.join("\n        ")).unwrap();
}

fn extents(entry: &Entry, shape: &[Extent]) -> String {
    format!("{{{}}}", factors(entry, shape).join(", "))
}

fn factors(entry: &Entry, shape: &[Extent]) -> Vec<String> {
    let factor = |extent: &Extent| {
        let product = extent.resolve(entry).expect("validated");
        let mut parts: Vec<String> = product
            .factors
            .iter()
            .map(|f| match *f {
                Factor::Dim(i) => format!("a.{}", entry.dims[i].name),
                Factor::Option(i) => format!("static_cast<std::size_t>(o.{})", entry.options[i].name),
            })
            .collect();
        if product.scale != 1 || parts.is_empty() {
            parts.insert(0, product.scale.to_string());
        }
        let plus = if product.plus > 0 { format!(" + {}", product.plus) } else { String::new() };
        format!("{}{plus}", parts.join(" * "))
    };
    shape.iter().map(factor).collect()
}

fn shape(shape: &[Extent]) -> String {
    super::c_interface::shape_text(shape)
}

fn view(element: Element, mutable: bool) -> &'static str {
    match (element, mutable) {
        (Element::Float, false) => "floats",
        (Element::Float, true) => "mutable_floats",
        (Element::F32, false) => "span<const float>",
        (Element::F32, true) => "span<float>",
        (Element::I64, false) => "span<const std::int64_t>",
        (Element::I64, true) => "span<std::int64_t>",
        (Element::U8, false) => "span<const std::uint8_t>",
        (Element::U8, true) => "span<std::uint8_t>",
    }
}

/// A member with its comment beside it, or above it where that would make a long line.
fn field(out: &mut String, declaration: &str, words: &str) {
    if declaration.len() + words.len() < 100 {
        writeln!(out, "  {declaration}  // {words}").unwrap();
    } else {
        writeln!(out, "  // {words}\n  {declaration}").unwrap();
    }
}

/// Values of enum options are words, and some words are taken.
fn identifier(word: &str) -> String {
    let taken = [
        "auto", "bool", "case", "char", "class", "default", "delete", "do", "double", "else", "export",
        "false", "float", "for", "if", "int", "long", "new", "not", "or", "and", "private", "public",
        "short", "signed", "static", "this", "true", "union", "void", "while", "xor",
    ];
    if taken.contains(&word) { format!("{word}_") } else { word.to_string() }
}
