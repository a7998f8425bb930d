//! Renders templates within bounds: steps, output, and for templates that a model wrote also the
//! language itself.
//!
//! The engine limits neither the memory nor the time of one operator: doubling a string forty times
//! takes forty steps and a terabyte. Operators' templates are trusted not to do that; templates
//! from a model are not, since a web page that the model has read may have written them.

use std::io::{self, Write};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{Environment, Template};

/// The largest output of a template, in bytes.
pub(super) const OUTPUT_BYTES_MAX: usize = 1024 * 1024;

/// Renders with this context; the error is one line.
pub(super) fn render(template: &Template<'_, '_>, context: Value) -> Result<String, String> {
    let mut output = Bounded { bytes: Vec::new(), full: false };
    let result = template.render_captured_to(context, &mut output).map(drop);
    if output.full {
        return Err(format!("the output is larger than {OUTPUT_BYTES_MAX} bytes"));
    }
    result.map_err(|error| error.to_string())?;
    String::from_utf8(output.bytes).map_err(|error| error.to_string())
}

struct Bounded {
    bytes: Vec<u8>,
    full: bool,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > OUTPUT_BYTES_MAX {
            self.full = true;
            return Err(io::Error::other("output too large"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The statements that a model's template may use. None of them binds a value that the data does
/// not already hold, so no value grows from step to step.
const STATEMENTS: &[&str] = &["for", "endfor", "if", "elif", "else", "endif"];

/// Says why a template that a model wrote is refused.
///
/// What is left after this check can only make values as large as its own text and the data allow:
/// there is no concatenation, and loops run over parts of the data.
pub(super) fn check_untrusted(source: &str) -> Result<(), String> {
    let mut in_loop_head = false;
    let mut first = false;
    let mut operand = false;
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let (token, _) = token.map_err(|error| error.to_string())?;
        match &token {
            Token::Plus | Token::Mul | Token::Pow | Token::Tilde => {
                return Err(format!(
                    "the operator {token} is not available; use the filters add and mul for \
                     numbers, and write texts side by side"
                ));
            }
            Token::Ident(name) if first && !STATEMENTS.contains(name) => {
                return Err(format!("the statement {name} is not available; use for and if"));
            }
            Token::Ident("recursive") if in_loop_head => {
                return Err("recursive loops are not available".to_owned());
            }
            Token::BracketOpen | Token::ParenOpen | Token::BraceOpen
                if in_loop_head && !operand =>
            {
                return Err("a loop may not build what it runs over; loop over data".to_owned());
            }
            _ => {}
        }
        in_loop_head = match token {
            Token::Ident("for") if first => true,
            Token::BlockEnd => false,
            _ => in_loop_head,
        };
        first = matches!(token, Token::BlockStart);
        operand = is_operand(&token);
    }
    Ok(())
}

/// Whether a bracket after this token opens a subscript or a call, not a list or a group.
fn is_operand(token: &Token<'_>) -> bool {
    match token {
        Token::Ident(name) => !["in", "if", "and", "or", "not", "is", "else"].contains(name),
        Token::BracketClose | Token::ParenClose => true,
        _ => false,
    }
}

/// The engine for such templates: only filters whose result is no larger than what they are given.
pub(super) fn untrusted_environment() -> Environment<'static> {
    use minijinja::{filters, tests};

    let mut environment = Environment::empty();
    environment.set_fuel(Some(50_000));
    environment.set_recursion_limit(50);
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Chainable);
    environment.add_filter("add", |left: f64, right: f64| number(left + right));
    environment.add_filter("mul", |left: f64, right: f64| number(left * right));
    environment.add_filter("abs", filters::abs);
    environment.add_filter("bool", filters::bool);
    environment.add_filter("capitalize", filters::capitalize);
    environment.add_filter("default", filters::default);
    environment.add_filter("dictsort", filters::dictsort);
    environment.add_filter("first", filters::first);
    environment.add_filter("float", filters::float);
    environment.add_filter("int", filters::int);
    environment.add_filter("items", filters::items);
    environment.add_filter("last", filters::last);
    environment.add_filter("length", filters::length);
    environment.add_filter("list", filters::list);
    environment.add_filter("lower", filters::lower);
    environment.add_filter("map", filters::map);
    environment.add_filter("max", filters::max);
    environment.add_filter("min", filters::min);
    environment.add_filter("reject", filters::reject);
    environment.add_filter("rejectattr", filters::rejectattr);
    environment.add_filter("reverse", filters::reverse);
    environment.add_filter("round", filters::round);
    environment.add_filter("select", filters::select);
    environment.add_filter("selectattr", filters::selectattr);
    environment.add_filter("sort", filters::sort);
    environment.add_filter("sum", filters::sum);
    environment.add_filter("title", filters::title);
    environment.add_filter("tojson", json_text);
    environment.add_filter("trim", filters::trim);
    environment.add_filter("unique", filters::unique);
    environment.add_filter("upper", filters::upper);
    environment.add_test("defined", tests::is_defined);
    environment.add_test("undefined", tests::is_undefined);
    environment.add_test("none", tests::is_none);
    environment.add_test("number", tests::is_number);
    environment.add_test("string", tests::is_string);
    environment.add_test("sequence", tests::is_sequence);
    environment.add_test("mapping", tests::is_mapping);
    for name in ["eq", "equalto", "=="] {
        environment.add_test(name, tests::is_eq);
    }
    for name in ["ne", "!="] {
        environment.add_test(name, tests::is_ne);
    }
    for name in ["lt", "<"] {
        environment.add_test(name, tests::is_lt);
    }
    for name in ["gt", ">"] {
        environment.add_test(name, tests::is_gt);
    }
    environment.add_test("le", tests::is_le);
    environment.add_test("ge", tests::is_ge);
    environment.add_test("in", tests::is_in);
    environment
}

/// Escapes can double a text each time, so that this filter alone has a limit of its own.
fn json_text(value: &Value) -> Result<String, minijinja::Error> {
    let text = serde_json::to_string(value).map_err(|error| {
        minijinja::Error::new(minijinja::ErrorKind::BadSerialization, error.to_string())
    })?;
    if text.len() > OUTPUT_BYTES_MAX {
        return Err(minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            "a value is too large as JSON",
        ));
    }
    Ok(text)
}

/// A whole result is written without a decimal point.
fn number(value: f64) -> Value {
    // Whole numbers are exact in f64 up to 2^53.
    if value.fract() == 0.0 && value.abs() < 9_007_199_254_740_992.0 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}
