//! What a reader of TOML or JSON says is wrong, in words for whoever wrote the file: serde names its own types.

/// A reader's message in plain words. What is told of a value begins with "is" and wants its key before it.
pub(super) fn plain(message: &str) -> String {
    if let Some((actual, expected)) = mismatch(message) {
        return format!("is {actual}, expected {expected}");
    }
    let bare = |names: &str| names.replace('`', "");
    if let Some((actual, expected)) = told(message, "unknown variant ") {
        return format!("is \"{}\", expected {}", bare(actual), bare(expected));
    }
    if let Some((key, expected)) = told(message, "unknown field ") {
        return format!("{} is not known, expected {}", bare(key), bare(expected));
    }
    match message.strip_prefix("missing field ") {
        Some(key) => format!("{} is missing", bare(key)),
        None if message == "duplicate key" => "the key is written twice".to_owned(),
        None if message.starts_with("string values must be quoted") => {
            "a value is missing, or a text is not in quotes".to_owned()
        }
        None => message.to_owned(),
    }
}

/// A value of a wrong type or range as it was written, and what is expected instead.
pub(super) fn mismatch(message: &str) -> Option<(String, &str)> {
    if message == "wanted string or table" {
        return Some(("no text".to_owned(), "text in quotes"));
    }
    let (actual, expected) = told(message, "invalid type: ").or_else(|| told(message, "invalid value: "))?;
    let actual = match actual {
        "map" => "a table".to_owned(),
        "sequence" => "a list".to_owned(),
        text if text.starts_with("string ") => text["string ".len()..].to_owned(),
        // integer `5`, floating point `1.5`, boolean `true`
        _ => actual.split('`').nth(1).unwrap_or(actual).to_owned(),
    };
    let expected = match expected {
        "f32" | "f64" => "a number",
        "u32" => "a whole number, 0 to 4294967295",
        "a sequence" => "a list, such as [\"…\"]",
        "a map" => "a table, such as { line = \"sales\" }",
        "a string" => "text in quotes",
        other => other,
    };
    Some((actual, expected))
}

/// What is wrong and what is expected, in a message that begins so.
fn told<'a>(message: &'a str, begins: &str) -> Option<(&'a str, &'a str)> {
    // What was written may hold the same words.
    message.strip_prefix(begins)?.rsplit_once(", expected ")
}

/// A number as people write it: far from 1 by its exponent, rather than by hundreds of digits.
pub(super) fn number(value: f64) -> String {
    let near = value == 0.0 || (1e-5..1e9).contains(&value.abs());
    if near { value.to_string() } else { format!("{value:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_told_in_plain_words() {
        for (message, expected) in [
            ("invalid type: string \"90s\", expected f64", "is \"90s\", expected a number"),
            ("invalid type: string \"a, expected b\", expected f64", "is \"a, expected b\", expected a number"),
            ("invalid type: floating point `1.5`, expected u32", "is 1.5, expected a whole number, 0 to 4294967295"),
            ("invalid value: integer `-1`, expected u32", "is -1, expected a whole number, 0 to 4294967295"),
            ("invalid type: boolean `true`, expected a string", "is true, expected text in quotes"),
            ("invalid type: sequence, expected a map", "is a list, expected a table, such as { line = \"sales\" }"),
            ("invalid type: null, expected f32", "is null, expected a number"),
            ("unknown variant `BOSS`, expected `A` or `B`", "is \"BOSS\", expected A or B"),
            ("unknown field `entre`, expected one of `a`, `b`", "entre is not known, expected one of a, b"),
            ("missing field `enter`", "enter is missing"),
            ("duplicate key", "the key is written twice"),
            ("string values must be quoted, expected literal string", "a value is missing, or a text is not in quotes"),
            ("key with no value, expected `=`", "key with no value, expected `=`"),
        ] {
            assert_eq!(plain(message), expected);
        }
    }

    #[test]
    fn no_number_takes_hundreds_of_digits() {
        let told = [0.0, 0.4, 86_401.0, -1.0, 1e300, 1e-300, f64::NAN, f64::INFINITY].map(number);
        assert_eq!(told, ["0", "0.4", "86401", "-1", "1e300", "1e-300", "NaN", "inf"]);
    }
}
