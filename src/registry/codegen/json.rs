//! `lk_registry_json()`: everything a dynamic binding needs to build itself.

use super::functions::Param;
use super::schema::Entry;
use serde_json::{Value, json};

pub fn registry(entries: &[Entry], version: &str, features: &[&str]) -> String {
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "library": "losskit", "version": version, "features": features, "entries": entries }).to_string()
}

fn entry(entry: &Entry) -> Value {
    let mut value = serde_json::to_value(entry).expect("a declaration is plain data");
    let mut functions = serde_json::Map::new();
    for function in entry.functions() {
        functions.insert(
            function.pass.name().into(),
            json!({ "symbol": function.symbol, "parameters": params(&function.params) }),
        );
    }
    functions.insert(
        "workspace_size".into(),
        json!({
            "symbol": format!("lk_{}_workspace_size", entry.name),
            "parameters": params(&entry.workspace_query()),
        }),
    );
    value["workspace"] = json!(if entry.cpu_workspace { vec!["cpu", "cuda"] } else { vec!["cuda"] });
    value["options_init"] = json!(format!("lk_{}_options_init", entry.name));
    value["functions"] = Value::Object(functions);
    value
}

fn params(params: &[Param]) -> Value {
    params
        .iter()
        .map(|p| match &p.of {
            Some(input) => json!({ "name": p.name, "role": p.role.name(), "of": input }),
            None => json!({ "name": p.name, "role": p.role.name() }),
        })
        .collect()
}
