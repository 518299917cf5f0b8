//! Rows as a Parquet file: a row group at a time, so that memory is bounded.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};

use super::line::{Header, Kind};

/// The size of a row group, in rows and in bytes of text.
const GROUP_ROWS: usize = 128 << 10;
const GROUP_BYTES: usize = 32 << 20;

/// Writes rows.
pub(super) struct ParquetRows<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<Values>,
    rows: usize,
    bytes: usize,
}

/// The values of a column in the row group that is being filled. Columns are optional: 1 stands for
/// a value that is there, 0 for one that is not.
struct Values {
    there: Vec<i16>,
    values: Typed,
}

enum Typed {
    Text(Vec<ByteArray>),
    Integer(Vec<i64>),
    Number(Vec<f64>),
}

impl Values {
    fn new(kind: Kind) -> Self {
        let values = match kind {
            Kind::Text | Kind::Json => Typed::Text(Vec::new()),
            Kind::Time | Kind::Integer => Typed::Integer(Vec::new()),
            Kind::Number => Typed::Number(Vec::new()),
        };
        Self { there: Vec::new(), values }
    }

    /// What is no number where numbers are is left out: JSON has no infinity either.
    fn push(&mut self, field: Option<Cow<'_, str>>) {
        let there = match (&mut self.values, field) {
            (_, None) => false,
            (Typed::Text(texts), Some(text)) => {
                texts.push(ByteArray::from(text.as_ref()));
                true
            }
            (Typed::Integer(numbers), Some(text)) => push_parsed(numbers, &text),
            (Typed::Number(numbers), Some(text)) => push_parsed(numbers, &text),
        };
        self.there.push(there.into());
    }

    fn write(&mut self, mut column: SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let there = std::mem::take(&mut self.there);
        match (&mut self.values, column.untyped()) {
            (Typed::Text(texts), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(&std::mem::take(texts), Some(&there), None)?;
            }
            (Typed::Integer(numbers), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(&std::mem::take(numbers), Some(&there), None)?;
            }
            (Typed::Number(numbers), ColumnWriter::DoubleColumnWriter(writer)) => {
                writer.write_batch(&std::mem::take(numbers), Some(&there), None)?;
            }
            _ => return Err(ParquetError::General("a column has another type".to_owned())),
        }
        column.close()
    }
}

fn push_parsed<N: std::str::FromStr>(numbers: &mut Vec<N>, text: &str) -> bool {
    let before = numbers.len();
    numbers.extend(text.parse::<N>().ok());
    numbers.len() > before
}

fn schema(header: &Header) -> Result<TypePtr, ParquetError> {
    let field = |(name, kind): (&Cow<'static, str>, &Kind)| {
        let (physical, logical) = match kind {
            Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
            Kind::Json => (Physical::BYTE_ARRAY, Some(LogicalType::Json)),
            Kind::Time => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
            Kind::Integer => (Physical::INT64, None),
            Kind::Number => (Physical::DOUBLE, None),
        };
        let field = Type::primitive_type_builder(name, physical)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(logical);
        field.build().map(Arc::new)
    };
    let fields = header.members.iter().zip(&header.kinds).map(field);
    let fields = fields.collect::<Result<Vec<_>, _>>()?;
    Type::group_type_builder("rows").with_fields(fields).build().map(Arc::new)
}

impl<W: Write + Send> ParquetRows<W> {
    pub(super) fn new(out: W, header: &Header) -> io::Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by(concat!("annals ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        let file = schema(header)
            .and_then(|schema| SerializedFileWriter::new(out, schema, Arc::new(properties)))
            .map_err(into_io)?;
        let columns = header.kinds.iter().map(|kind| Values::new(*kind)).collect();
        Ok(Self { file, columns, rows: 0, bytes: 0 })
    }

    pub(super) fn row(&mut self, fields: Vec<Option<Cow<'_, str>>>) -> io::Result<()> {
        self.bytes += fields.iter().flatten().map(|field| field.len()).sum::<usize>();
        self.columns.iter_mut().zip(fields).for_each(|(column, field)| column.push(field));
        self.rows += 1;
        match self.rows == GROUP_ROWS || self.bytes >= GROUP_BYTES {
            true => self.end_group().map_err(into_io),
            false => Ok(()),
        }
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        (self.rows, self.bytes) = (0, 0);
        let mut group = self.file.next_row_group()?;
        for values in &mut self.columns {
            if let Some(column) = group.next_column()? {
                values.write(column)?;
            }
        }
        group.close().map(drop)
    }

    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.rows > 0 {
            self.end_group().map_err(into_io)?;
        }
        self.file.finish().map(drop).map_err(into_io)
    }
}

/// The I/O error inside, with its kind.
fn into_io(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(source) => match source.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(source) => io::Error::other(source),
        },
        error => io::Error::other(error),
    }
}
