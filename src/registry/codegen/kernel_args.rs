//! `losskit_kernel_args.h`: the arguments structs as the CUDA side sees them.

use super::schema::Entry;
use std::fmt::Write;

pub fn header(entries: &[Entry]) -> String {
    let mut out = String::from(
        "/* Generated: the one parameter of every kernel. */\n#pragma once\n#include <stdint.h>\n#include \"losskit.h\"\n",
    );
    for entry in entries {
        writeln!(out, "\ntypedef struct lk_{0}_args {{\n  lk_{0}_options opts;", entry.name).unwrap();
        for (field, rust_type) in super::types::argument_fields(entry) {
            writeln!(out, "  {} {field};", c_type(&rust_type)).unwrap();
        }
        writeln!(out, "}} lk_{}_args;", entry.name).unwrap();
    }
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
        "c_void" => "void",
        other => panic!("no C type for {other}"),
    };
    format!("{constness}{base}{pointer}")
}
