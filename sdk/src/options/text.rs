//! The tokens of a JSON text (RFC 8259): what `reader` makes values of. Nothing here depends on the type that is read.

use std::borrow::Cow;

use super::OptionsProblem;

/// How deep values may be within each other.
const DEPTH: u32 = 128;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Text<'t> {
    rest: &'t str,
    length: usize,
    depth: u32,
}

/// What a value begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Number,
    String,
    Array,
    Object,
}

pub(super) fn problem(text: impl Into<String>) -> OptionsProblem {
    OptionsProblem { path: String::new(), text: text.into() }
}

impl<'t> Text<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { rest: text, length: text.len(), depth: 0 }
    }

    /// Nothing but space may follow.
    pub(super) fn end(&mut self) -> Result<(), OptionsProblem> {
        self.space();
        if self.rest.is_empty() { Ok(()) } else { Err(self.unexpected("the end")) }
    }

    /// What comes next; `true`, `false` and `null` are taken.
    pub(super) fn kind(&mut self) -> Result<Kind, OptionsProblem> {
        self.space();
        for (word, kind) in [("null", Kind::Null), ("true", Kind::Bool(true)), ("false", Kind::Bool(false))] {
            if self.take(word) {
                return Ok(kind);
            }
        }
        Ok(match self.rest.as_bytes().first() {
            Some(b'"') => Kind::String,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => return Err(self.unexpected("a value")),
        })
    }

    /// Takes `null`, if that comes next.
    pub(super) fn null(&mut self) -> bool {
        self.space();
        self.take("null")
    }

    /// Takes what opens a list or an object.
    pub(super) fn open(&mut self) -> Result<(), OptionsProblem> {
        self.skip(1);
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH {
            Err(problem(format!("values lie more than {DEPTH} deep in each other")))
        } else {
            Ok(())
        }
    }

    /// Takes a separator, unless it is the `first` one's turn, or what closes; says whether another one follows.
    pub(super) fn more(&mut self, first: &mut bool, close: &str) -> Result<bool, OptionsProblem> {
        self.space();
        if self.take(close) {
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !std::mem::replace(first, false) && !self.take(",") {
            return Err(self.unexpected(&format!("`,` or `{close}`")));
        }
        Ok(true)
    }

    /// Takes the colon between a key and its value.
    pub(super) fn colon(&mut self) -> Result<(), OptionsProblem> {
        self.space();
        if self.take(":") { Ok(()) } else { Err(self.unexpected("`:`")) }
    }

    /// Takes a number, as it is written.
    pub(super) fn number(&mut self) -> Result<&'t str, OptionsProblem> {
        let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest.bytes().take_while(is_part).count();
        let (number, _) = self.rest.split_at_checked(length).unwrap_or_default();
        if !is_number(number.as_bytes()) {
            return Err(self.unexpected("a number"));
        }
        self.skip(length);
        Ok(number)
    }

    /// Takes a key or a text.
    pub(super) fn string(&mut self) -> Result<Cow<'t, str>, OptionsProblem> {
        self.space();
        if !self.take("\"") {
            return Err(self.unexpected("a string"));
        }
        let mut whole: Option<String> = None;
        loop {
            let is_end = |byte: &u8| *byte == b'"' || *byte == b'\\' || *byte < b' ';
            let length = self.rest.bytes().take_while(|byte| !is_end(byte)).count();
            let (plain, _) = self.rest.split_at_checked(length).unwrap_or_default();
            self.skip(length);
            if self.take("\"") {
                return Ok(match whole {
                    Some(mut text) => {
                        text.push_str(plain);
                        Cow::Owned(text)
                    }
                    None => Cow::Borrowed(plain),
                });
            }
            if !self.take("\\") {
                return Err(self.unexpected("the end of a string"));
            }
            let text = whole.get_or_insert_default();
            text.push_str(plain);
            let escaped = self.escaped()?;
            text.push(escaped);
        }
    }

    /// Takes what follows a backslash.
    fn escaped(&mut self) -> Result<char, OptionsProblem> {
        let Some(letter) = self.rest.bytes().next() else { return Err(self.unexpected("an escaped character")) };
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.skip(1);
                return self.unicode();
            }
            _ => return Err(self.unexpected("an escaped character")),
        };
        self.skip(1);
        Ok(plain)
    }

    /// Takes four digits, or two times four that are a pair of surrogates.
    fn unicode(&mut self) -> Result<char, OptionsProblem> {
        let first = self.unit()?;
        let second = if (0xd800..0xdc00).contains(&first) && self.take("\\u") { Some(self.unit()?) } else { None };
        let units = std::iter::once(first).chain(second);
        let mut read = char::decode_utf16(units);
        match (read.next(), read.next()) {
            (Some(Ok(letter)), None) => Ok(letter),
            _ => Err(problem(format!("\\u{first:04x} is half of a character"))),
        }
    }

    fn unit(&mut self) -> Result<u16, OptionsProblem> {
        let digits = self.rest.get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let unit = digits.and_then(|digits| u16::from_str_radix(digits, 16).ok());
        let unit = unit.ok_or_else(|| self.unexpected("four hexadecimal digits"))?;
        self.skip(4);
        Ok(unit)
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, word: &str) -> bool {
        let after = self.rest.strip_prefix(word);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn unexpected(&self, wanted: &str) -> OptionsProblem {
        let at = self.length.saturating_sub(self.rest.len());
        match self.rest.chars().next() {
            Some(found) => problem(format!("this is not JSON: {wanted} should stand where byte {at} is {found:?}")),
            None => problem(format!("this is not JSON: {wanted} should stand where it ends")),
        }
    }
}

/// The grammar of numbers: no zero before other digits, digits on both sides of a point.
pub(super) fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let (whole, rest) = digits(text);
    let has_zero = whole.len() > 1 && whole.starts_with(b"0");
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => digits(rest),
        None => (whole, rest),
    };
    let (exponent, rest) = match rest {
        [b'e' | b'E', b'+' | b'-', rest @ ..] | [b'e' | b'E', rest @ ..] => digits(rest),
        rest => (whole, rest),
    };
    !has_zero && !whole.is_empty() && !fraction.is_empty() && !exponent.is_empty() && rest.is_empty()
}

fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let length = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.split_at_checked(length).unwrap_or((text, &[]))
}
