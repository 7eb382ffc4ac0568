//! `records!`: one definition of a record, from which its type and both directions are made.

/// Defines records: structs whose fields travel in the order in which they are written.
macro_rules! records {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $crate::Decode for $name {
            #[allow(unused_variables, reason = "a record without fields reads nothing")]
            fn decode<'a>(input: &'a [u8], frame: &bytes::Bytes) -> $crate::Parsed<'a, Self> {
                $(let (input, $field) = <$type as $crate::Decode>::decode(input, frame)?;)*
                Ok((input, $name { $($field,)* }))
            }
        }

        impl $crate::Encode for $name {
            #[allow(unused_variables, reason = "a record without fields writes nothing")]
            fn encode(&self, out: &mut bytes::BytesMut) {
                $($crate::Encode::encode(&self.$field, out);)*
            }
        }
    )*};
}

/// Lets a tuple struct around an integer travel as that integer.
macro_rules! transparent {
    ($($name:ident),*) => {$(
        impl $crate::Decode for $crate::$name {
            fn decode<'a>(input: &'a [u8], frame: &bytes::Bytes) -> $crate::Parsed<'a, Self> {
                let (input, value) = $crate::Decode::decode(input, frame)?;
                Ok((input, $crate::$name(value)))
            }
        }

        impl $crate::Encode for $crate::$name {
            fn encode(&self, out: &mut bytes::BytesMut) {
                self.0.encode(out);
            }
        }
    )*};
}

transparent!(Zxid, Xid, SessionId, Version, Perms);

pub(crate) use records;
