//! Reads the declarations in `src/losses`, writes what follows from them to `OUT_DIR`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

#[path = "src/registry/codegen/mod.rs"]
mod codegen;

#[path = "kernels/compile.rs"]
mod compile;

use codegen::{c_interface, cpp, header, json, kernel_args, schema, types};

const CPP_ENTRIES: &str = "bindings/cpp/include/losskit_entries.hpp";

fn main() {
    if let Err(message) = generate() {
        eprintln!("error: {message}");
        std::process::exit(1);
    }
}

fn generate() -> Result<(), String> {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").unwrap());
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap());
    let version = env::var("CARGO_PKG_VERSION").unwrap();
    println!("cargo:rerun-if-changed={CPP_ENTRIES}");
    for watched in
        ["build.rs", "cbindgen.toml", "include", "kernels", "src/abi", "src/registry", "src/losses"]
    {
        println!("cargo:rerun-if-changed={watched}");
    }
    println!("cargo:rerun-if-env-changed=LOSSKIT_UPDATE_HEADER");
    println!("cargo:rustc-check-cfg=cfg(gpu)");
    println!("cargo:rustc-check-cfg=cfg(some_entries)");
    let features: Vec<&str> =
        [("CARGO_FEATURE_CUDA", "cuda"), ("CARGO_FEATURE_CUDA_EMULATION", "cuda-emulation")]
            .into_iter()
            .filter_map(|(variable, name)| env::var_os(variable).map(|_| name))
            .collect();
    if !features.is_empty() {
        println!("cargo:rustc-cfg=gpu");
    }
    println!("cargo:rerun-if-env-changed=LOSSKIT_ENTRIES");
    let mut entries = schema::load(&root.join("src/losses"))?;
    let all: Vec<String> = entries.iter().map(|e| e.name.clone()).collect();
    if let Ok(list) = env::var("LOSSKIT_ENTRIES") {
        choose(&mut entries, &list)?;
        println!("cargo:rustc-cfg=some_entries");
    }

    let mut all_types = String::new();
    let mut all_functions = String::new();
    let mut files = Vec::new();
    for entry in &entries {
        let (options, functions) = (c_interface::options(entry), c_interface::functions(entry));
        let pair = ["options", "functions"].map(|kind| out.join(kind).join(format!("{}.rs", entry.name)));
        write(&pair[0], &options)?;
        write(&pair[1], &functions)?;
        files.push(pair);
        all_types.push_str(&options);
        all_types.push_str(&c_interface::options_default(entry));
        all_types.push_str(&types::module(entry));
        all_functions.push_str(&functions);
        all_functions.push_str(&c_interface::vtable(entry));
    }
    write(&out.join("entries.rs"), &all_types)?;
    write(&out.join("functions.rs"), &all_functions)?;
    write(&out.join("losses.rs"), &loss_modules(&entries))?;
    write(&out.join("registry.json"), &json::registry(&entries, &version, &features))?;

    let core = ["types", "context", "status", "library"].map(|f| root.join(format!("src/abi/{f}.rs")));
    let config = root.join("cbindgen.toml");
    let sources = header::Sources { config: &config, core: &core, entries: &files, version: &version };
    derived(&root, &out, "include/losskit.h", &header::render(&entries, &sources)?)?;
    derived(&root, &out, CPP_ENTRIES, &cpp::header(&entries))?;
    for entry in &entries {
        let file = out.join(format!("include/losskit_args/{}.h", entry.name));
        write(&file, &kernel_args::header(entry))?;
    }

    let kernels = compile::Kernels {
        folder: root.join("kernels"),
        includes: out.join("include"),
        left_out: all.iter().filter(|name| !entries.iter().any(|e| e.name == **name)).cloned().collect(),
        out: out.clone(),
    };
    if features.contains(&"cuda") {
        kernels.cuda();
    }
    if features.contains(&"cuda-emulation") {
        kernels.emulation();
    }

    if env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        let major = version.split('.').next().unwrap();
        println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,liblosskit.so.{major}");
    }
    Ok(())
}

/// A generated file that is also committed, so that it can be read and used without a build.
/// `LOSSKIT_UPDATE_HEADER=1` renews the committed copy; a test compares the two.
fn derived(root: &Path, out: &Path, name: &str, text: &str) -> Result<(), String> {
    write(&out.join(name), text)?;
    if env::var_os("LOSSKIT_ENTRIES").is_some() {
        return Ok(());
    }
    let committed = root.join(name);
    if fs::read_to_string(&committed).is_ok_and(|t| t == text) {
        return Ok(());
    }
    if env::var_os("LOSSKIT_UPDATE_HEADER").is_some() {
        return write(&committed, text);
    }
    println!("cargo:warning={name} is out of date: build with LOSSKIT_UPDATE_HEADER=1 to renew it");
    Ok(())
}

/// A library of some entries only: `LOSSKIT_ENTRIES=mse_loss,z_loss`.
fn choose(entries: &mut Vec<schema::Entry>, list: &str) -> Result<(), String> {
    let wanted: Vec<&str> = list.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if let Some(unknown) = wanted.iter().find(|name| !entries.iter().any(|e| e.name == **name)) {
        return Err(format!("LOSSKIT_ENTRIES: there is no entry '{unknown}'"));
    }
    entries.retain(|e| wanted.contains(&e.name.as_str()));
    Ok(())
}

/// One module per entry, in its family: a new loss needs no line in a hand-written file.
fn loss_modules(entries: &[schema::Entry]) -> String {
    let mut text = String::new();
    let mut family = "";
    for entry in entries {
        if entry.family != family {
            text.push_str(if family.is_empty() { "" } else { "}\n" });
            family = &entry.family;
            text.push_str(&format!("pub mod {family} {{\n"));
        }
        let file = entry.source.with_extension("rs");
        text.push_str(&format!("#[path = {file:?}]\npub mod {};\n", entry.name));
    }
    if family.is_empty() { text } else { text + "}\n" }
}

/// Leaves an unchanged file alone, so that what depends on it is not rebuilt.
fn write(path: &Path, text: &str) -> Result<(), String> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    fs::create_dir_all(path.parent().unwrap()).map_err(fail)?;
    fs::write(path, text).map_err(fail)
}
