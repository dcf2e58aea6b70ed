//! Build-script half of the kernels: nvcc for the driver, g++ for the emulation.
//!
//! Every `kernels/<family>/*.cu` is a module; the kernels in it are found by their `LK_KERNEL(name, …)`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs};

/// One .cu file.
struct Source {
    path: PathBuf,
    name: String,
    kernels: Vec<String>,
}

/// PTX for the oldest supported GPU, machine code for the common ones.
const ARCHS: &str = "compute_75,sm_80,sm_90,sm_100";

pub struct Kernels {
    pub folder: PathBuf,
    /// Generated headers.
    pub includes: PathBuf,
    /// Modules that are not built.
    pub left_out: Vec<String>,
    pub out: PathBuf,
}

impl Kernels {
    /// Feature `cuda`: compiles what has changed to fat binaries and writes `cuda_modules.rs`.
    pub fn cuda(&self) {
        for variable in ["LOSSKIT_NVCC", "LOSSKIT_CUDA_ARCHS", "CUDA_HOME", "CUDA_PATH", "CXX"] {
            println!("cargo:rerun-if-env-changed={variable}");
        }
        let mut sources = self.sources();
        sources.retain(|s| !s.path.components().any(|c| c.as_os_str() == "emulation"));
        let nvcc = find_nvcc(&self.folder);
        let archs = env::var("LOSSKIT_CUDA_ARCHS").unwrap_or_else(|_| ARCHS.into());
        let mut flags =
            vec!["-std=c++17".to_string(), "-O3".into(), "--fatbin".into(), "--compress-mode=size".into()];
        flags.extend(["-ccbin".into(), env::var("CXX").unwrap_or_else(|_| "g++".into())]);
        for arch in archs.split([',', ';', ' ']).filter(|a| !a.is_empty()) {
            let virtual_arch = arch.replace("sm_", "compute_");
            flags.push("-gencode".into());
            flags.push(format!("arch={virtual_arch},code={arch}"));
        }
        let mut common = Hash::new();
        common.add(nvcc.as_os_str().as_encoded_bytes());
        common.add(flags.join(" ").as_bytes());
        let folder = self.out.join("fatbin");
        fs::create_dir_all(&folder).expect("OUT_DIR is writable");
        self.in_parallel(&sources, |source| {
            let image = folder.join(format!("{}.fatbin", source.name));
            self.unless_done(common, &source.path, &image, || {
                let mut command = Command::new(&nvcc);
                command.args(&flags).arg("-o").arg(&image).arg(&source.path).arg("-I").arg(&self.includes);
                run(&mut command);
            });
        });
        let mut table =
            String::from("// (module, fat binary, kernels)\npub static MODULES: &[Module] = &[\n");
        for s in &sources {
            let file = folder.join(format!("{}.fatbin", s.name));
            let (name, kernels) = (&s.name, &s.kernels);
            writeln!(table, "    Module {{ name: {name:?}, image: &Aligned(*include_bytes!({file:?})), kernels: &{kernels:?} }},")
                .unwrap();
        }
        table.push_str("];\n");
        write_if_changed(&self.out.join("cuda_modules.rs"), &table);
    }

    /// Feature `cuda-emulation`: the same sources as host C++ into a static library that is linked in, and
    /// `emulated_kernels.rs` with their entries.
    pub fn emulation(&self) {
        let sources = self.sources();
        let mut build = cc::Build::new();
        build
            .cpp(true)
            .std("c++17")
            .opt_level(2)
            .debug(false)
            .pic(true)
            .warnings(true)
            .include(&self.includes);
        // Fibres change stacks by longjmp, which fortified builds refuse.
        build.flag("-U_FORTIFY_SOURCE").flag("-ffp-contract=off").flag("-Wno-unknown-pragmas");
        let folder = self.out.join("emulated");
        fs::create_dir_all(&folder).expect("OUT_DIR is writable");
        let mut units = vec![(self.folder.join("emulation/emulation.cpp"), folder.join("emulation.o"))];
        units.extend(sources.iter().map(|s| (s.path.clone(), folder.join(format!("{}.o", s.name)))));
        let compiler = build.get_compiler();
        let mut common = Hash::new();
        common.add(format!("{:?}", compiler.to_command()).as_bytes());
        self.in_parallel(&units, |(source, object)| {
            self.unless_done(common, source, object, || {
                // g++ does not know the suffix .cu.
                run(compiler.to_command().args(["-x", "c++", "-c"]).arg(source).arg("-o").arg(object));
            });
        });
        for (_, object) in &units {
            build.object(object);
        }
        build.compile("losskit_emulated_kernels");
        let mut table = String::from("unsafe extern \"C\" {\n");
        let names: Vec<&String> = sources.iter().flat_map(|s| &s.kernels).collect();
        for name in &names {
            writeln!(
                table,
                "    fn lk_emulated_{name}(gx: u32, gy: u32, gz: u32, bx: u32, by: u32, bz: u32, shared: usize, \
                 args: *const core::ffi::c_void) -> i32;"
            )
            .unwrap();
        }
        table.push_str("}\npub static KERNELS: &[(&str, Entry)] = &[\n");
        for name in &names {
            writeln!(table, "    ({name:?}, lk_emulated_{name} as Entry),").unwrap();
        }
        table.push_str("];\n");
        write_if_changed(&self.out.join("emulated_kernels.rs"), &table);
    }

    /// All modules, in the order of their paths; tells cargo to watch the folder.
    fn sources(&self) -> Vec<Source> {
        let kernels = fs::canonicalize(&self.folder).expect("the kernels folder exists");
        println!("cargo:rerun-if-changed={}", kernels.display());
        let list: Vec<Source> = files(&kernels, &["cu"])
            .into_iter()
            .map(|path| {
                let text = fs::read_to_string(&path).expect("readable .cu file");
                let kernels = text
                    .lines()
                    .filter_map(|line| line.trim_start().strip_prefix("LK_KERNEL(")?.split([',', ')']).next())
                    .map(|name| name.trim().to_string())
                    .collect();
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                Source { path, name, kernels }
            })
            .filter(|source| !self.left_out.contains(&source.name))
            .collect();
        let mut names: Vec<&String> = list.iter().flat_map(|s| &s.kernels).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
            panic!("two kernels are named {}", twice[0]);
        }
        list
    }

    fn in_parallel<T: Sync>(&self, items: &[T], work: impl Fn(&T) + Sync) {
        let threads = env::var("NUM_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(2);
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        work(item);
                    }
                });
            }
        });
    }

    /// Makes `target` unless it was made from the same text with the same `common`.
    fn unless_done(&self, common: Hash, source: &Path, target: &Path, make: impl FnOnce()) {
        let mut key = common;
        self.add_with_includes(&mut key, source, &mut Vec::new());
        let key = format!("{:016x}", key.0);
        let stamp = target.with_extension("key");
        if target.exists() && fs::read_to_string(&stamp).is_ok_and(|old| old == key) {
            return;
        }
        make();
        fs::write(stamp, key).expect("OUT_DIR is writable");
    }

    /// A file and what it includes, but for the system's headers.
    fn add_with_includes(&self, key: &mut Hash, file: &Path, seen: &mut Vec<PathBuf>) {
        let Ok(path) = fs::canonicalize(file) else { return };
        if seen.contains(&path) {
            return;
        }
        let text = fs::read_to_string(&path).expect("readable source");
        key.add(text.as_bytes());
        let folder = path.parent().unwrap().to_path_buf();
        seen.push(path);
        for line in text.lines() {
            let name = line.trim_start().strip_prefix("#include \"").and_then(|rest| rest.split('"').next());
            for from in name.iter().flat_map(|name| [folder.join(name), self.includes.join(name)]) {
                self.add_with_includes(key, &from, seen);
            }
        }
    }
}

fn run(command: &mut Command) {
    let program = command.get_program().to_os_string();
    let result = command.output().unwrap_or_else(|e| panic!("{} does not start: {e}", program.display()));
    let told = String::from_utf8_lossy(&result.stderr);
    if !result.status.success() {
        panic!("{command:?} failed:\n{told}");
    }
    for line in told.lines() {
        println!("cargo:warning={line}");
    }
}

/// Files under `folder` with one of the suffixes, sorted.
fn files(folder: &Path, suffixes: &[&str]) -> Vec<PathBuf> {
    let mut list = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return list };
    for path in entries.flatten().map(|e| e.path()) {
        if path.is_dir() {
            list.extend(files(&path, suffixes));
        } else if path.extension().is_some_and(|e| suffixes.iter().any(|s| e == *s)) {
            list.push(path);
        }
    }
    list.sort();
    list
}

/// $LOSSKIT_NVCC, a CUDA toolkit, $PATH, or the wheels in the repository's build/venv.
fn find_nvcc(kernels: &Path) -> PathBuf {
    if let Some(path) = env::var_os("LOSSKIT_NVCC") {
        return path.into();
    }
    let mut candidates: Vec<PathBuf> = ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(env::var_os)
        .map(|home| Path::new(&home).join("bin/nvcc"))
        .collect();
    if let Some(path) = env::var_os("PATH") {
        candidates.extend(env::split_paths(&path).map(|dir| dir.join("nvcc")));
    }
    let venv = kernels.join("../build/venv/lib");
    if let Ok(pythons) = fs::read_dir(venv) {
        candidates.extend(pythons.flatten().map(|p| p.path().join("site-packages/nvidia/cu13/bin/nvcc")));
    }
    candidates.into_iter().find(|p| p.is_file()).unwrap_or_else(|| {
        panic!(
            "feature `cuda` needs nvcc: set LOSSKIT_NVCC or CUDA_HOME, put nvcc on the PATH, or install the \
                PyPI wheels nvidia-cuda-nvcc, -nvvm, -crt, -runtime, -cccl 13.0 into build/venv"
        )
    })
}

fn write_if_changed(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::write(path, text).expect("OUT_DIR is writable");
}

/// FNV-1a: the same in every toolchain, as the keys outlive one.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Hash(0xcbf2_9ce4_8422_2325)
    }
    fn add(&mut self, bytes: &[u8]) {
        for &b in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(b)).wrapping_mul(0x100_0000_01b3);
        }
    }
}
