//! Decimal numbers as text, and back. In the page the browser does it: Rust's own code for it
//! was 2% of the page.

/// A number with this many digits after the point: `0.50`.
pub(crate) fn fixed(value: f64, digits: usize) -> String {
    #[cfg(target_arch = "wasm32")]
    return js_sys::Number::from(value)
        .to_fixed(digits as u8)
        .map(String::from)
        .unwrap_or_default();
    #[cfg(not(target_arch = "wasm32"))]
    format!("{value:.digits$}")
}

/// A number with the digits that it needs: `0.5`.
pub(crate) fn shortest(value: f64) -> String {
    #[cfg(target_arch = "wasm32")]
    return js_sys::Number::from(value)
        .to_string_with_radix(10)
        .map(String::from)
        .unwrap_or_default();
    #[cfg(not(target_arch = "wasm32"))]
    value.to_string()
}

/// The number that a text is; `None` if it is none, or infinite.
pub(crate) fn parse(text: &str) -> Option<f64> {
    let text = text.trim();
    if !text.bytes().all(|it| it.is_ascii_digit() || b"+-.eE".contains(&it)) || text.is_empty() {
        return None;
    }
    #[cfg(target_arch = "wasm32")]
    let value = wasm_bindgen::JsValue::from(text).unchecked_into_f64();
    #[cfg(not(target_arch = "wasm32"))]
    let value: f64 = text.parse().ok()?;
    Some(value).filter(|value| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_and_read() {
        assert_eq!((fixed(0.5, 2), shortest(0.5)), ("0.50".to_owned(), "0.5".to_owned()));
        assert_eq!(parse(" -1.5e2 "), Some(-150.0));
        for text in ["", " ", "x", "1,5", "0x1f", "inf", "NaN", "1e999", "1.2.3"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
