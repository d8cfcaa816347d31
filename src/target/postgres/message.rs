//! What stands inside the messages of a server (PostgreSQL documentation,
//! "Message Formats"). Whatever is read here may be garbage: nothing is taken
//! for granted, and what does not fit is `None`.

/// What is left to read of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    /// Text that ends with a zero byte, without it.
    pub(super) fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.bytes(length)?;
        self.0 = &self.0[1..];
        Some(text)
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Its type, by the number that the database has for it.
    pub(super) kind: u32,
}

/// The columns of a RowDescription.
pub(super) fn columns(body: &[u8]) -> Option<Vec<Column>> {
    let mut fields = Fields(body);
    (0..fields.u16()?)
        .map(|_| {
            let name = String::from_utf8_lossy(fields.text()?).into_owned();
            // The table, and the column in it.
            fields.bytes(4 + 2)?;
            let kind = fields.u32()?;
            // Size and modifier of the type, and the format.
            fields.bytes(2 + 4 + 2)?;
            Some(Column { name, kind })
        })
        .collect()
}

/// The values of a DataRow; NULL is `None`.
pub(super) fn cells(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let mut fields = Fields(body);
    (0..fields.u16()?)
        .map(|_| match fields.i32()? {
            -1 => Some(None),
            length => fields.bytes(length.try_into().ok()?).map(Some),
        })
        .collect()
}

/// How many rows a command changed or returned: the last word of its CommandComplete.
pub(super) fn affected(body: &[u8]) -> u64 {
    let word = body
        .strip_suffix(b"\0")
        .and_then(|tag| tag.rsplit(|byte| *byte == b' ').next());
    word.and_then(|word| std::str::from_utf8(word).ok()?.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_and_their_columns_are_read() {
        let described = [&b"\0\x01"[..], b"id\0", &[0; 6], &[0, 0, 0, 23], &[0; 8]].concat();
        let id = Column {
            name: "id".into(),
            kind: 23,
        };
        assert_eq!(columns(&described), Some(vec![id]));
        let row = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
        assert_eq!(cells(row), Some(vec![Some(&b"x"[..]), None]));
        assert_eq!(
            [affected(b"INSERT 0 5\0"), affected(b"BEGIN\0"), affected(b"")],
            [5, 0, 0]
        );
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_nothing() {
        for body in [
            &b""[..],
            b"\0",
            b"\0\x01",
            b"\xff\xff",
            b"\0\x01\x7f\xff\xff\xff",
            b"\0\x01\x80\0\0\0abc",
        ] {
            assert_eq!((cells(body), columns(body)), (None, None), "{body:?}");
        }
    }
}
