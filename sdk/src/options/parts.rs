//! What a value is made of: the elements of a list, the keys and values of an object. An error within gets the step to it.

use std::borrow::Cow;

use serde::de::{self, DeserializeSeed, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};

use super::{
    OptionsProblem,
    key::Key,
    reader::Reader,
    text::{Text, problem},
};

/// The rest of a list.
pub(super) struct List<'r, 't> {
    text: &'r mut Text<'t>,
    index: usize,
    first: bool,
    is_over: bool,
}

impl<'r, 't> List<'r, 't> {
    pub(super) fn open(text: &'r mut Text<'t>) -> Result<Self, OptionsProblem> {
        text.open()?;
        Ok(Self { text, index: 0, first: true, is_over: false })
    }

    fn next(&mut self) -> Result<bool, OptionsProblem> {
        self.is_over = self.is_over || !self.text.more(&mut self.first, "]")?;
        Ok(!self.is_over)
    }

    pub(super) fn closed(mut self) -> Result<(), OptionsProblem> {
        match self.next()? {
            false => Ok(()),
            true => Err(problem(format!("the list has more than {} elements", self.index))),
        }
    }
}

impl<'t> SeqAccess<'t> for &mut List<'_, 't> {
    type Error = OptionsProblem;

    fn next_element_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, OptionsProblem> {
        if !self.next()? {
            return Ok(None);
        }
        let index = self.index;
        self.index = index.saturating_add(1);
        let read = seed.deserialize(Reader(self.text));
        read.map(Some).map_err(|wrong| wrong.within(&format!("[{index}]")))
    }
}

/// The rest of an object, and the key that was read last.
pub(super) struct Object<'r, 't> {
    text: &'r mut Text<'t>,
    key: Cow<'t, str>,
    first: bool,
    is_over: bool,
}

impl<'r, 't> Object<'r, 't> {
    pub(super) fn open(text: &'r mut Text<'t>) -> Result<Self, OptionsProblem> {
        text.open()?;
        Ok(Self { text, key: Cow::Borrowed(""), first: true, is_over: false })
    }

    fn next(&mut self) -> Result<bool, OptionsProblem> {
        self.is_over = self.is_over || !self.text.more(&mut self.first, "}")?;
        if !self.is_over {
            self.key = self.text.string()?;
            self.text.colon()?;
        }
        Ok(!self.is_over)
    }

    fn value<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, OptionsProblem> {
        seed.deserialize(Reader(self.text)).map_err(|wrong| wrong.within(&self.key))
    }

    pub(super) fn closed(mut self) -> Result<(), OptionsProblem> {
        match self.next()? {
            false => Ok(()),
            true => Err(problem("the object has more than one key")),
        }
    }
}

impl<'t> MapAccess<'t> for &mut Object<'_, 't> {
    type Error = OptionsProblem;

    fn next_key_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<Option<S::Value>, OptionsProblem> {
        if self.next()? { seed.deserialize(Key(self.key.clone())).map(Some) } else { Ok(None) }
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, OptionsProblem> {
        self.value(seed)
    }
}

impl<'t> EnumAccess<'t> for &mut Object<'_, 't> {
    type Error = OptionsProblem;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<(S::Value, Self), OptionsProblem> {
        if !self.next()? {
            return Err(problem("invalid value: map, expected map with a single key"));
        }
        let variant = seed.deserialize(Key(self.key.clone()))?;
        Ok((variant, self))
    }
}

impl<'t> VariantAccess<'t> for &mut Object<'_, 't> {
    type Error = OptionsProblem;

    fn unit_variant(self) -> Result<(), OptionsProblem> {
        self.value(std::marker::PhantomData::<()>)
    }

    fn newtype_variant_seed<S: DeserializeSeed<'t>>(self, seed: S) -> Result<S::Value, OptionsProblem> {
        self.value(seed)
    }

    fn tuple_variant<V: Visitor<'t>>(self, length: usize, visitor: V) -> Result<V::Value, OptionsProblem> {
        let read = de::Deserializer::deserialize_tuple(Reader(self.text), length, visitor);
        read.map_err(|wrong| wrong.within(&self.key))
    }

    fn struct_variant<V: Visitor<'t>>(self, _: &[&str], visitor: V) -> Result<V::Value, OptionsProblem> {
        let read = de::Deserializer::deserialize_map(Reader(self.text), visitor);
        read.map_err(|wrong| wrong.within(&self.key))
    }
}
