//! Puts the library that cargo built, its headers and its CMake and pkg-config files below a prefix:
//!
//! ```text
//! cargo run --release --bin losskit-install -- --prefix DIR [--libdir lib] [--includedir include]
//! ```
//!
//! CMakeLists.txt installs with this same tool, so both ways give the same tree.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

const VERSION: &str = env!("CARGO_PKG_VERSION");
const USAGE: &str = "usage: losskit-install --prefix DIR [--libdir lib] [--includedir include]";
const HEADERS: [&str; 3] =
    ["include/losskit.h", "bindings/cpp/include/losskit.hpp", "bindings/cpp/include/losskit_entries.hpp"];

/// Below the library directory, made from the templates in bindings/cpp/cmake.
const CONFIGS: [&str; 4] = [
    "cmake/losskit/losskit-config.cmake",
    "cmake/losskit/losskit-config-version.cmake",
    "pkgconfig/losskit.pc",
    "pkgconfig/losskit-static.pc",
];

/// What the static library needs: `cargo rustc --release --lib -- --print native-static-libs`.
const SYSTEM_LIBRARIES: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

fn main() -> ExitCode {
    match arguments().and_then(|places| install(&places)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("losskit-install: {message}");
            ExitCode::FAILURE
        }
    }
}

struct Places {
    prefix: PathBuf,
    libdir: String,
    includedir: String,
}

fn arguments() -> Result<Places, String> {
    let (mut prefix, mut libdir, mut includedir) = (None, "lib".to_string(), "include".to_string());
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let (name, given) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_string())),
            None => (word.as_str(), None),
        };
        if name == "--help" {
            return Err(USAGE.into());
        }
        if !["--prefix", "--libdir", "--includedir"].contains(&name) {
            return Err(format!("unknown argument '{word}'\n{USAGE}"));
        }
        let value = given.or_else(|| words.next()).filter(|v| !v.is_empty());
        let value = value.ok_or_else(|| format!("{name} needs a directory\n{USAGE}"))?;
        match name {
            "--prefix" => prefix = Some(PathBuf::from(value)),
            "--libdir" => libdir = relative(name, value)?,
            _ => includedir = relative(name, value)?,
        }
    }
    let prefix = prefix.ok_or_else(|| format!("--prefix is missing\n{USAGE}"))?;
    Ok(Places { prefix, libdir, includedir })
}

/// The installed tree can be moved as long as its parts are found from each other.
fn relative(name: &str, value: String) -> Result<String, String> {
    let value = value.trim_end_matches('/').to_string();
    let plain = Path::new(&value).components().all(|c| matches!(c, Component::Normal(_)));
    if plain { Ok(value) } else { Err(format!("{name} is '{value}', expected a path below the prefix")) }
}

fn install(places: &Places) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("only Linux is supported so far".into());
    }
    let source = env::var_os("CARGO_MANIFEST_DIR").map_or(env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    let library = places.prefix.join(&places.libdir);
    let (shared, archive) = (built("liblosskit.so")?, built("liblosskit.a")?);
    for header in HEADERS {
        let from = source.join(header);
        put(&places.prefix.join(&places.includedir).join(from.file_name().unwrap()), &read(&from)?)?;
    }

    let major = VERSION.split('.').next().unwrap();
    let (real, soname) = (format!("liblosskit.so.{VERSION}"), format!("liblosskit.so.{major}"));
    put(&library.join("liblosskit.a"), &archive)?;
    put(&library.join(&real), &shared)?;
    executable(&library.join(&real))?;
    link(&library.join(&soname), &real)?;
    link(&library.join("liblosskit.so"), &soname)?;

    for config in CONFIGS {
        let name = Path::new(config).file_name().unwrap().to_string_lossy();
        let template = read(&source.join(format!("bindings/cpp/cmake/{name}.in")))?;
        let text = String::from_utf8(template).map_err(|e| format!("{name}.in: {e}"))?;
        put(&library.join(config), fill(&text, places).as_bytes())?;
    }
    println!("losskit {VERSION} is in {}", places.prefix.display());
    Ok(())
}

fn fill(template: &str, places: &Places) -> String {
    let cxx = if cfg!(feature = "cuda-emulation") { " -lstdc++" } else { "" };
    template
        .replace("@VERSION@", VERSION)
        .replace("@LIBDIR@", &places.libdir)
        .replace("@INCLUDEDIR@", &places.includedir)
        .replace("@PREFIX_FROM_LIBDIR@", &vec![".."; places.libdir.split('/').count()].join("/"))
        .replace("@SYSTEM_LIBRARIES@", &format!("{SYSTEM_LIBRARIES}{cxx}"))
}

/// A library as built together with this program: cargo leaves it in `deps` beside it.
fn built(name: &str) -> Result<Vec<u8>, String> {
    let program = env::current_exe().map_err(|e| format!("cannot tell where this program is: {e}"))?;
    let path = program.with_file_name("deps").join(name);
    if !path.exists() {
        return Err(format!(
            "{} does not exist: start this program with `cargo run --release --bin losskit-install`",
            path.display()
        ));
    }
    read(&path)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

/// Leaves an unchanged file alone, so that what was built from it stays fresh. A changed one is replaced
/// and not overwritten: a running program may have it mapped.
fn put(path: &Path, bytes: &[u8]) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let fail = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
    fs::create_dir_all(path.parent().unwrap()).map_err(fail)?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, bytes).and_then(|()| fs::rename(&new, path)).map_err(fail)
}

#[cfg(unix)]
fn executable(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(path, mode).map_err(|e| format!("cannot make {} executable: {e}", path.display()))
}

#[cfg(unix)]
fn link(path: &Path, target: &str) -> Result<(), String> {
    if fs::read_link(path).is_ok_and(|old| old == Path::new(target)) {
        return Ok(());
    }
    let removed = match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    };
    removed
        .and_then(|()| std::os::unix::fs::symlink(target, path))
        .map_err(|e| format!("cannot link {}: {e}", path.display()))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> Result<(), String> {
    Ok(())
}

#[cfg(not(unix))]
fn link(_: &Path, _: &str) -> Result<(), String> {
    Ok(())
}
