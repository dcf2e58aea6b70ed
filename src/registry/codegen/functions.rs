//! The C functions of an entry as ordered parameter lists. Every generator below works from these,
//! so that header, checks and bindings cannot disagree about an argument's place.

use super::schema::{Element, Entry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    Forward,
    Backward,
    ForwardBackward,
}

impl Pass {
    pub fn name(self) -> &'static str {
        match self {
            Pass::Forward => "forward",
            Pass::Backward => "backward",
            Pass::ForwardBackward => "forward_backward",
        }
    }

    /// As `registry::Pass` in the library.
    pub fn variant(self) -> &'static str {
        match self {
            Pass::Forward => "Forward",
            Pass::Backward => "Backward",
            Pass::ForwardBackward => "ForwardBackward",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Context,
    Options,
    Dtype,
    Dim,
    Stride,
    Input,
    Output,
    /// Written by forward.
    SavedOut,
    /// Read by backward.
    SavedIn,
    GradLoss,
    Gradient,
    Workspace,
    WorkspaceBytes,
    /// Result of the workspace query.
    Bytes,
}

impl Role {
    pub fn name(self) -> &'static str {
        match self {
            Role::Context => "context",
            Role::Options => "options",
            Role::Dtype => "dtype",
            Role::Dim => "dim",
            Role::Stride => "stride",
            Role::Input => "input",
            Role::Output => "output",
            Role::SavedOut => "saved_out",
            Role::SavedIn => "saved_in",
            Role::GradLoss => "grad_loss",
            Role::Gradient => "gradient",
            Role::Workspace => "workspace",
            Role::WorkspaceBytes => "workspace_bytes",
            Role::Bytes => "bytes",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: String,
    pub role: Role,
    /// The input a stride or gradient belongs to.
    pub of: Option<String>,
    pub rust_type: String,
}

impl Param {
    fn new(name: &str, role: Role, rust_type: impl Into<String>) -> Param {
        Param { name: name.into(), role, of: None, rust_type: rust_type.into() }
    }

    fn of(mut self, input: &str) -> Param {
        self.of = Some(input.into());
        self
    }
}

pub fn pointer(element: Element, mutable: bool) -> String {
    let pointee = match element {
        Element::Float => "c_void",
        Element::F32 => "f32",
        Element::I64 => "i64",
        Element::U8 => "u8",
    };
    format!("*{} {pointee}", if mutable { "mut" } else { "const" })
}

pub struct Function {
    pub symbol: String,
    pub pass: Pass,
    pub params: Vec<Param>,
}

impl Entry {
    pub fn passes(&self) -> Vec<Pass> {
        let mut passes = vec![Pass::Forward];
        if self.differentiable().next().is_some() {
            passes.push(Pass::Backward);
            if self.forward_backward {
                passes.push(Pass::ForwardBackward);
            }
        }
        passes
    }

    pub fn functions(&self) -> Vec<Function> {
        self.passes().into_iter().map(|pass| self.function(pass)).collect()
    }

    fn function(&self, pass: Pass) -> Function {
        let mut params = self.leading_params();
        for input in self.inputs.iter().filter(|i| i.stride) {
            let name = format!("{}_stride", input.name);
            params.push(Param::new(&name, Role::Stride, "usize").of(&input.name));
        }
        for input in &self.inputs {
            params.push(Param::new(&input.name, Role::Input, pointer(input.element, false)));
        }
        if pass == Pass::Backward && !self.saved.is_empty() {
            params.push(Param::new("saved", Role::SavedIn, "*const f32"));
        }
        if pass != Pass::Forward {
            params.push(Param::new("grad_loss", Role::GradLoss, "*const f32"));
        }
        if pass != Pass::Backward {
            for output in &self.outputs {
                params.push(Param::new(&output.name, Role::Output, pointer(output.element, true)));
            }
        }
        if pass == Pass::Forward && !self.saved.is_empty() {
            params.push(Param::new("saved", Role::SavedOut, "*mut f32"));
        }
        if pass != Pass::Forward {
            for input in self.differentiable() {
                let name = format!("grad_{}", input.name);
                params.push(Param::new(&name, Role::Gradient, pointer(input.element, true)).of(&input.name));
            }
        }
        params.push(Param::new("workspace", Role::Workspace, "*mut c_void"));
        params.push(Param::new("workspace_bytes", Role::WorkspaceBytes, "usize"));
        Function { symbol: format!("lk_{}_{}", self.name, pass.name()), pass, params }
    }

    fn leading_params(&self) -> Vec<Param> {
        let options = format!("*const lk_{}_options", self.name);
        let mut params = vec![
            Param::new("ctx", Role::Context, "*const lk_context"),
            Param::new("opts", Role::Options, options),
            Param::new("dtype", Role::Dtype, "lk_dtype"),
        ];
        params.extend(self.dims.iter().map(|d| Param::new(&d.name, Role::Dim, "usize")));
        params
    }

    pub fn workspace_query(&self) -> Vec<Param> {
        let mut params = self.leading_params();
        params.push(Param::new("bytes", Role::Bytes, "*mut usize"));
        params
    }
}
