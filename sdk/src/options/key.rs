//! The keys of objects, which JSON has as texts only.

use std::borrow::Cow;

use serde::{
    de::{self, Unexpected, Visitor},
    forward_to_deserialize_any,
};

use super::{OptionsProblem, text::is_number};

/// A key, which stands for a number or a truth where the type wants one.
pub(super) struct Key<'t>(pub(super) Cow<'t, str>);

macro_rules! parsed {
    ($($method:ident $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
            let is_written_so = is_number(self.0.as_bytes()) || matches!(&*self.0, "true" | "false");
            match self.0.parse::<$type>() {
                Ok(value) if is_written_so => visitor.$visit(value),
                _ => Err(de::Error::invalid_type(Unexpected::Str(&self.0), &visitor)),
            }
        }
    )*};
}

impl<'t> de::Deserializer<'t> for Key<'t> {
    type Error = OptionsProblem;

    parsed! {
        deserialize_i8 i64, visit_i64;
        deserialize_i16 i64, visit_i64;
        deserialize_i32 i64, visit_i64;
        deserialize_i64 i64, visit_i64;
        deserialize_u8 u64, visit_u64;
        deserialize_u16 u64, visit_u64;
        deserialize_u32 u64, visit_u64;
        deserialize_u64 u64, visit_u64;
        deserialize_bool bool, visit_bool;
    }

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, OptionsProblem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(self, _: &str, visitor: V) -> Result<V::Value, OptionsProblem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'t>>(self, _: &str, _: &[&str], visitor: V) -> Result<V::Value, OptionsProblem> {
        visitor.visit_enum(de::value::CowStrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        <V: Visitor<'t>>
        f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
