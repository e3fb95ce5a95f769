//! `hubbub postman`: the HTTP API as a Postman collection, made from its OpenAPI description.
//!
//! A folder for each tag and a request for each operation, with an example of what it takes and of each answer that is
//! described. Logging in and making a room keep token and room in variables of the collection, for the requests after them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

const SCHEMA: &str = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json";
/// Deeper than any description goes.
const DEPTH_MAX: usize = 16;
/// What a request keeps for others: operation, field of its answer, variable.
const KEPT: [(&str, &str, &str); 2] = [("log_in", "token", "token"), ("create", "id", "room")];

/// The collection, as it is to be written.
pub fn collection() -> String {
    let document = serde_json::to_value(hubbub_gateway::http::openapi()).unwrap_or_default();
    format!("{:#}\n", Api { document }.collection())
}

struct Api {
    document: Value,
}

impl Api {
    fn collection(&self) -> Value {
        let mut by_tag: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (path, operations) in members(&self.document["paths"]) {
            for (method, operation) in members(operations) {
                let tag = operation["tags"][0].as_str().unwrap_or("other");
                by_tag.entry(tag).or_default().push(self.item(path, method, operation));
            }
        }
        // In the order of the description: first what is needed first.
        let folders: Vec<_> = list(&self.document["tags"])
            .filter_map(|tag| {
                let items = by_tag.remove(tag["name"].as_str()?)?;
                Some(json!({"name": tag["name"], "description": tag["description"], "item": items}))
            })
            .collect();
        let variable = |name: &str, value: &str| json!({"key": name, "value": value});
        json!({
            "info": {"name": self.document["info"]["title"], "description": self.document["info"]["description"],
                "version": self.document["info"]["version"], "schema": SCHEMA},
            "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{token}}", "type": "string"}]},
            "variable": [variable("url", "http://127.0.0.1:3000"), variable("token", ""), variable("room", "")],
            "item": folders,
        })
    }

    fn item(&self, path: &str, method: &str, operation: &Value) -> Value {
        let request = self.request(path, method, operation);
        let answers: Vec<_> = members(&operation["responses"])
            .flat_map(|(status, response)| self.answers(status, response))
            .collect();
        let summary = operation["summary"].as_str().unwrap_or_default();
        let name = summary.split([':', '.', '\n']).next().unwrap_or_default();
        let mut item = json!({"name": name, "request": request, "response": answers});
        let kept = KEPT.iter().find(|(id, ..)| operation["operationId"] == *id);
        if let Some((_, field, variable)) = kept {
            let keep = format!("pm.collectionVariables.set(\"{variable}\", pm.response.json().{field});");
            let lines = ["if (pm.response.code < 300) {".to_owned(), format!("  {keep}"), "}".to_owned()];
            item["event"] = json!([{"listen": "test", "script": {"type": "text/javascript", "exec": lines}}]);
        }
        item
    }

    fn request(&self, path: &str, method: &str, operation: &Value) -> Value {
        let of_place = |place: &'static str| {
            list(&operation["parameters"]).filter(move |parameter| parameter["in"] == place)
        };
        let in_path: Vec<_> = of_place("path").map(|p| self.parameter(p, false)).collect();
        let query: Vec<_> = of_place("query").map(|p| self.parameter(p, true)).collect();
        let mut headers: Vec<_> = of_place("header").map(|p| self.parameter(p, true)).collect();
        let body = &operation["requestBody"]["content"]["application/json"];
        if !body.is_null() {
            headers.push(json!({"key": "Content-Type", "value": "application/json"}));
        }
        let path = path.replace('{', ":").replace('}', "");
        let segments: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let mut url = json!({"raw": format!("{{{{url}}}}{path}"), "host": ["{{url}}"], "path": segments});
        for (name, parameters) in [("variable", in_path), ("query", query)] {
            if !parameters.is_empty() {
                url[name] = parameters.into();
            }
        }
        let mut request = json!({"method": method.to_uppercase(), "url": url, "header": headers,
            "description": operation["summary"]});
        if !body.is_null() {
            let example = format!("{:#}", self.example(&body["schema"], 0));
            request["body"] =
                json!({"mode": "raw", "raw": example, "options": {"raw": {"language": "json"}}});
        }
        // What needs no token says so.
        if operation["security"].as_array().is_some_and(|ways| ways.iter().any(|way| way == &json!({}))) {
            request["auth"] = json!({"type": "noauth"});
        }
        request
    }

    /// One that need not be there is there and off.
    fn parameter(&self, parameter: &Value, may_be_off: bool) -> Value {
        let name = parameter["name"].as_str().unwrap_or_default();
        let value = match (name, self.example(&parameter["schema"], 0)) {
            ("id", _) => "{{room}}".into(),
            (_, Value::String(text)) => text,
            (_, Value::Null) => String::new(),
            (_, value) => value.to_string(),
        };
        let mut shown = json!({"key": name, "value": value, "description": parameter["description"]});
        if may_be_off && parameter["required"] != true {
            shown["disabled"] = true.into();
        }
        shown
    }

    /// The answers of a status: its examples, or one that is made from its schema.
    fn answers(&self, status: &str, response: &Value) -> Vec<Value> {
        let code: u16 = status.parse().unwrap_or_default();
        let answer = |name: &Value, kind: &str, body: String| {
            let headers = match kind {
                "" => json!([]),
                kind => json!([{"key": "Content-Type", "value": kind}]),
            };
            json!({"name": format!("{status}: {}", name.as_str().unwrap_or_default()), "code": code,
                "header": headers, "body": body})
        };
        let Some((kind, content)) = members(&response["content"]).next() else {
            return vec![answer(&response["description"], "", String::new())];
        };
        if content["examples"].is_null() {
            let body = match self.example(&content["schema"], 0) {
                Value::String(text) => text,
                example => format!("{example:#}"),
            };
            return vec![answer(&response["description"], kind, body)];
        }
        let examples = members(&content["examples"]);
        examples
            .map(|(_, example)| answer(&example["summary"], kind, format!("{:#}", example["value"])))
            .collect()
    }

    /// Something that a schema describes. What may be left out is, unless an example is given for it.
    fn example(&self, schema: &Value, depth: usize) -> Value {
        if depth > DEPTH_MAX {
            return Value::Null;
        }
        let inner = |schema: &Value| self.example(schema, depth + 1);
        if let Some(path) = schema["$ref"].as_str() {
            return self.document.pointer(path.trim_start_matches('#')).map_or(Value::Null, inner);
        }
        if !schema["example"].is_null() {
            return schema["example"].clone();
        }
        if let Some(first) = schema["oneOf"].get(0) {
            return inner(first);
        }
        let kinds: Vec<&str> = match &schema["type"] {
            Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
            kind => kind.as_str().into_iter().collect(),
        };
        match kinds.first() {
            Some(&"object") => {
                let is_required = |name: &str| list(&schema["required"]).any(|required| required == name);
                let shown = members(&schema["properties"])
                    .filter(|(name, property)| is_required(name) || !property["example"].is_null());
                shown.map(|(name, property)| (name.to_owned(), inner(property))).collect::<Map<_, _>>().into()
            }
            Some(&"array") => json!([inner(&schema["items"])]),
            Some(&"integer" | &"number") => schema["minimum"].as_u64().unwrap_or(1).max(1).into(),
            Some(&"boolean") => false.into(),
            Some(&"string") => "".into(),
            _ => Value::Null,
        }
    }
}

fn members(object: &Value) -> impl Iterator<Item = (&str, &Value)> {
    object.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

fn list(array: &Value) -> impl Iterator<Item = &Value> {
    array.as_array().into_iter().flatten()
}
