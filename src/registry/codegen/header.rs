//! `losskit.h`: cbindgen renders the hand-written part and each entry on its own, so that a family's
//! options and functions stand together instead of all structs first and all functions last.

use super::schema::Entry;
use std::path::{Path, PathBuf};

pub struct Sources<'a> {
    pub config: &'a Path,
    /// Hand-written files of the interface.
    pub core: &'a [PathBuf],
    /// Options and functions of each entry, in the order of the entries.
    pub entries: &'a [[PathBuf; 2]],
    pub version: &'a str,
}

pub fn render(entries: &[Entry], sources: &Sources) -> Result<String, String> {
    let config = cbindgen::Config::from_file(sources.config)?;
    let mut out = config.header.clone().unwrap_or_default();
    out.push_str(&version_macros(sources.version));
    out.push_str(&bindings(&config, sources.core)?);
    let mut family = "";
    for (entry, files) in entries.iter().zip(sources.entries) {
        if entry.family != family {
            family = &entry.family;
            out.push_str(&banner('=', &title(family)));
        }
        out.push_str(&banner('-', &format!("{}: {}", entry.name, entry.summary)));
        out.push_str(&bindings(&config, files)?);
    }
    out.push_str(config.trailer.as_deref().unwrap_or_default());
    Ok(out)
}

fn bindings(config: &cbindgen::Config, files: &[PathBuf]) -> Result<String, String> {
    let mut config = config.clone();
    (config.header, config.trailer) = (None, None);
    let mut builder = cbindgen::Builder::new().with_config(config);
    for file in files {
        builder = builder.with_src(file);
    }
    let mut text = Vec::new();
    builder.generate().map_err(|e| e.to_string())?.write(&mut text);
    let text = String::from_utf8(text).map_err(|e| e.to_string())?;
    Ok(format!("\n{}\n", text.trim()))
}

fn banner(rule: char, text: &str) -> String {
    let rule: String = std::iter::repeat_n(rule, 100).collect();
    format!("\n/* {rule}\n * {text}\n * {rule} */\n")
}

pub fn title(family: &str) -> String {
    let words = family.replace('_', " ");
    words[..1].to_uppercase() + &words[1..]
}

fn version_macros(version: &str) -> String {
    let mut parts = version.split('.');
    let mut out = String::from("\n");
    for name in ["MAJOR", "MINOR", "PATCH"] {
        out.push_str(&format!("#define LK_VERSION_{name} {}\n", parts.next().unwrap_or("0")));
    }
    out.push_str(&format!("#define LK_VERSION_STRING \"{version}\"\n"));
    out
}
