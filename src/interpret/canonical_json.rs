//! One spelling for equal JSON values: members sorted by name, no white space.

use serde_json::Value;

/// Appends the one spelling of `value`. Numbers are spelled as they were sent, so `1` and `1.0` differ.
/// Recursion is bounded, since the parser of JSON refuses more than 128 levels.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(list) => {
            out.push(b'[');
            for (at, element) in list.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(element, out);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(name, _)| *name);
            out.push(b'{');
            for (at, (name, element)) in members.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_scalar(&Value::String(name.clone()), out);
                out.push(b':');
                write(element, out);
            }
            out.push(b'}');
        }
        scalar => write_scalar(scalar, out),
    }
}

fn write_scalar(value: &Value, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a scalar is written to memory");
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn equal_values_are_spelled_alike() {
        let mut out = Vec::new();
        write(&json!({"b": [1, 2.5, null], "a": {"é\"": true, "d": "x"}}), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), r#"{"a":{"d":"x","é\"":true},"b":[1,2.5,null]}"#);
    }
}
