//! Whether what the server says is as its descriptions have it: the part of JSON Schema that those use, and strictly: a field that
//! is not described is a difference.

use serde_json::Value;

/// Whether a value is as a schema of the document says.
///
/// # Errors
/// What is not.
pub fn fits(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(path) = schema["$ref"].as_str() {
        let schema = document.pointer(path.trim_start_matches('#')).ok_or(format!("{path} leads nowhere"))?;
        return fits(document, schema, value);
    }
    if let Some(ways) = schema["oneOf"].as_array() {
        let fitting = ways.iter().filter(|way| fits(document, way, value).is_ok()).count();
        return if fitting == 1 { Ok(()) } else { Err(format!("{value} fits {fitting} of {schema}")) };
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, part, value)?;
    }
    is_of_type(&schema["type"], value)?;
    let chars = value.as_str().map(|text| text.chars().count() as u64);
    let is_within = schema["const"].is_null() || schema["const"] == *value;
    let is_one = schema["enum"].as_array().is_none_or(|all| all.contains(value));
    let is_enough = value.as_f64().zip(schema["minimum"].as_f64()).is_none_or(|(is, least)| is >= least);
    let is_long = chars.zip(schema["minLength"].as_u64()).is_none_or(|(is, least)| is >= least);
    let is_short = chars.zip(schema["maxLength"].as_u64()).is_none_or(|(is, most)| is <= most);
    if !(is_within && is_one && is_enough && is_long && is_short) {
        return Err(format!("{value} is not {schema}"));
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            object.get(name).ok_or(format!("{name} is missing in {value}"))?;
        }
        if let Some(properties) = schema["properties"].as_object() {
            for (name, value) in object {
                let schema = properties.get(name).ok_or(format!("{name} is not described"))?;
                fits(document, schema, value)?;
            }
        }
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(document, &schema["items"], item))
}

fn is_of_type(kinds: &Value, value: &Value) -> Result<(), String> {
    let is = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let may_be = |kind: &Value| kind == is || kind == "number" && is == "integer";
    match kinds {
        Value::Null => Ok(()),
        Value::Array(kinds) if kinds.iter().any(may_be) => Ok(()),
        kind if may_be(kind) => Ok(()),
        _ => Err(format!("{value} is not {kinds}")),
    }
}
