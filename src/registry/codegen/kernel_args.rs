//! `losskit_args/<name>.h`: options and arguments of an entry as its kernels see them. One file each, so that
//! a change of one entry compiles its own kernels only.

use super::schema::Entry;
use super::types::{argument_fields, option_constants, option_rust_type};
use std::fmt::Write;

pub fn header(entry: &Entry) -> String {
    let name = &entry.name;
    let mut out = String::from(
        "/* Generated: the one parameter of every kernel. */\n#pragma once\n#include <stddef.h>\n#include <stdint.h>\n",
    );
    write!(out, "\ntypedef struct lk_{name}_options {{\n  size_t struct_size;\n").unwrap();
    for option in &entry.options {
        writeln!(out, "  {} {};", c_type(option_rust_type(option)), option.name).unwrap();
    }
    writeln!(out, "}} lk_{name}_options;").unwrap();
    for option in &entry.options {
        for (constant, value) in option_constants(entry, option) {
            writeln!(out, "#define {constant} {value}").unwrap();
        }
    }
    write!(out, "\ntypedef struct lk_{name}_args {{\n  lk_{name}_options opts;\n").unwrap();
    for (field, rust_type) in argument_fields(entry) {
        writeln!(out, "  {} {field};", c_type(&rust_type)).unwrap();
    }
    writeln!(out, "}} lk_{name}_args;").unwrap();
    out
}

fn c_type(rust: &str) -> String {
    let (pointee, constness, pointer) = match rust.split_once(' ') {
        Some(("*const", pointee)) => (pointee, "const ", " *"),
        Some(("*mut", pointee)) => (pointee, "", " *"),
        _ => (rust, "", ""),
    };
    let base = match pointee {
        "i32" => "int32_t",
        "i64" => "int64_t",
        "u8" => "uint8_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "f32" => "float",
        "f64" => "double",
        "c_void" => "void",
        other => panic!("no C type for {other}"),
    };
    format!("{constness}{base}{pointer}")
}
