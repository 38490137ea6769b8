//! From a JSON text to a value of any type that serde knows.
//!
//! It is in every guest, for a few options of a few lines, and a byte of code there costs at each use. A general reader
//! brings the printing and exact reading of floating point numbers with it, which is two thirds of its size; here only a
//! stage whose options have such numbers gets that. An error names its place by the path of the value.

use std::{borrow::Cow, fmt::Display};

use serde::{
    de::{self, Expected, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::{
    OptionsProblem,
    parts::{List, Object},
    text::{Kind, Text, problem},
};

impl de::Error for OptionsProblem {
    fn custom<T: Display>(text: T) -> Self {
        problem(text.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        problem(format!("invalid type: {}, expected {expected}", named(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        problem(format!("invalid value: {}, expected {expected}", named(&found)))
    }
}

/// As serde prints it, but for the value of a floating point number.
fn named(found: &Unexpected<'_>) -> Cow<'static, str> {
    Cow::Owned(match found {
        Unexpected::Bool(value) => format!("boolean `{value}`"),
        Unexpected::Unsigned(value) => format!("integer `{value}`"),
        Unexpected::Signed(value) => format!("integer `{value}`"),
        Unexpected::Char(value) => format!("character `{value}`"),
        Unexpected::Str(value) => format!("string {value:?}"),
        Unexpected::Float(_) => return Cow::Borrowed("floating point number"),
        Unexpected::Unit => return Cow::Borrowed("null"),
        Unexpected::Seq => return Cow::Borrowed("sequence"),
        Unexpected::Map => return Cow::Borrowed("map"),
        _ => return Cow::Borrowed("value"),
    })
}

/// The error of a number that is no whole one of 64 bits.
fn unlike(text: &str, expected: &dyn Expected) -> OptionsProblem {
    problem(format!("invalid type: number `{text}`, expected {expected}"))
}

/// Reads the value that comes next.
pub(super) struct Reader<'r, 't>(pub(super) &'r mut Text<'t>);

/// The numbers of a type, when they are whole.
macro_rules! whole {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
            match self.0.kind()? {
                Kind::Number => {}
                other => return Err(self.wrong(other, &visitor)),
            }
            match Whole::of(self.0.number()?) {
                Ok(Whole::Unsigned(number)) => visitor.visit_u64(number),
                Ok(Whole::Signed(number)) => visitor.visit_i64(number),
                Err(text) => Err(unlike(text, &visitor)),
            }
        }
    )*};
}

/// A whole number that has an integer type of 64 bits.
enum Whole {
    Unsigned(u64),
    Signed(i64),
}

impl Whole {
    fn of(text: &str) -> Result<Self, &str> {
        let signed = |_| text.parse().map(Self::Signed);
        text.parse().map(Self::Unsigned).or_else(signed).map_err(|_| text)
    }
}

impl<'t> Reader<'_, 't> {
    /// The error of a value of another kind than `expected`; a text is read for it.
    fn wrong(self, kind: Kind, expected: &dyn Expected) -> OptionsProblem {
        let found = match kind {
            Kind::Null => Unexpected::Unit,
            Kind::Bool(value) => Unexpected::Bool(value),
            Kind::Array => Unexpected::Seq,
            Kind::Object => Unexpected::Map,
            Kind::String => match self.0.string() {
                Ok(text) => return de::Error::invalid_type(Unexpected::Str(&text), expected),
                Err(wrong) => return wrong,
            },
            Kind::Number => match self.0.number().map(Whole::of) {
                Ok(Ok(Whole::Unsigned(number))) => Unexpected::Unsigned(number),
                Ok(Ok(Whole::Signed(number))) => Unexpected::Signed(number),
                Ok(Err(text)) => return unlike(text, expected),
                Err(wrong) => return wrong,
            },
        };
        de::Error::invalid_type(found, expected)
    }

    fn number<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        let text = self.0.number()?;
        match Whole::of(text) {
            Ok(Whole::Unsigned(number)) => visitor.visit_u64(number),
            Ok(Whole::Signed(number)) => visitor.visit_i64(number),
            Err(text) => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => visitor.visit_f64(number),
                _ => Err(problem(format!("number `{text}` is out of range"))),
            },
        }
    }

    fn text<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.string()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn list<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        let mut list = List::open(self.0)?;
        let read = visitor.visit_seq(&mut list)?;
        list.closed()?;
        Ok(read)
    }

    fn object<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        let mut object = Object::open(self.0)?;
        let read = visitor.visit_map(&mut object)?;
        object.closed()?;
        Ok(read)
    }
}

impl<'t> de::Deserializer<'t> for Reader<'_, 't> {
    type Error = OptionsProblem;

    whole! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Null => visitor.visit_unit(),
            Kind::Bool(value) => visitor.visit_bool(value),
            Kind::Number => self.number(visitor),
            Kind::String => self.text(visitor),
            Kind::Array => self.list(visitor),
            Kind::Object => self.object(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Bool(value) => visitor.visit_bool(value),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_f64<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Number => self.number(visitor),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_f32<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_str<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::String => self.text(visitor),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_string<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_char<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_identifier<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        if self.0.null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Null => visitor.visit_unit(),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'t>>(self, _: &str, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(self, _: &str, visitor: V) -> Result<V::Value, OptionsProblem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Array => self.list(visitor),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_tuple<V: Visitor<'t>>(self, _: usize, visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'t>>(
        self,
        _: &str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, OptionsProblem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::Object => self.object(visitor),
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_struct<V: Visitor<'t>>(self, _: &str, _: &[&str], visitor: V) -> Result<V::Value, OptionsProblem> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'t>>(self, _: &str, _: &[&str], visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0.kind()? {
            Kind::String => visitor.visit_enum(de::value::CowStrDeserializer::new(self.0.string()?)),
            Kind::Object => {
                let mut object = Object::open(self.0)?;
                let read = visitor.visit_enum(&mut object)?;
                object.closed()?;
                Ok(read)
            }
            other => Err(self.wrong(other, &visitor)),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        skip(self.0)?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { <V: Visitor<'t>> bytes byte_buf }
}

/// Takes a value of any kind.
fn skip(text: &mut Text<'_>) -> Result<(), OptionsProblem> {
    let mut first = true;
    match text.kind()? {
        Kind::Null | Kind::Bool(_) => {}
        Kind::Number => drop(text.number()?),
        Kind::String => drop(text.string()?),
        Kind::Array => {
            text.open()?;
            while text.more(&mut first, "]")? {
                skip(text)?;
            }
        }
        Kind::Object => {
            text.open()?;
            while text.more(&mut first, "}")? {
                text.string()?;
                text.colon()?;
                skip(text)?;
            }
        }
    }
    Ok(())
}
