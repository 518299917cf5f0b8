//! The tools and their descriptions, by which a client's model chooses.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use rmcp::schemars::JsonSchema;

use super::params::{
    AggregateRecords, ListRecords, QueryLatest, QueryRange, SummariseRecord, ValueAt, WhatsNew,
};
use super::results::{BucketPage, Marked, NewsPage, RecordPage, Summary, ValuePage};

pub(super) fn tools() -> Vec<Tool> {
    vec![
        tool::<ListRecords, RecordPage>(
            "list_records",
            "List records",
            "List the records that have history, ordered by name, with the number of their values \
             and the times of the first and the last. Begin here when the names are not known.",
        ),
        tool::<QueryLatest, ValuePage>(
            "query_latest",
            "Query the latest values",
            "Read the newest values of one or more records, by default one of each: for the \
             current state, or the last few changes.",
        ),
        tool::<ValueAt, ValuePage>(
            "value_at",
            "Query the values at a moment",
            "Read the value that each record had at one moment in the past: the newest that was \
             stored at that time or before. For questions such as \"what was the temperature \
             yesterday at noon?\".",
        ),
        tool::<QueryRange, ValuePage>(
            "query_range",
            "Query a time range",
            "Read every stored value of one or more records between two times, both included, in \
             pages, the newest of each record first unless asked otherwise. For statistics, or \
             for more than a few hundred values, use aggregate instead.",
        ),
        tool::<WhatsNew, NewsPage>(
            "whats_new",
            "Read what is new since the last time",
            "Read the values that have arrived since an earlier call, each exactly once, also those \
             with an older time. For watching: call it without a cursor to begin now, or with `from` \
             to begin at a time, keep the cursor of the answer, and pass it in the next call. It does \
             not wait for values: an answer without rows means that nothing is new. For the current \
             state without a cursor use query_latest.",
        ),
        tool::<AggregateRecords, BucketPage>(
            "aggregate",
            "Compute statistics over time",
            "Compute statistics of a number in the values of one or more records, for each \
             interval of time: hourly means, daily maxima, monthly consumption of a counter \
             (increase), percentiles, how long a state such as \"open\" lasted per day. Without \
             `every` there is one result for the whole window, such as the mean of the last 24 \
             hours. It reads the values where they are stored and answers with a few numbers.",
        ),
        tool::<SummariseRecord, Summary>(
            "summarise_record",
            "Summarise a record",
            "Describe one record: the number of its values, the first and the last of them in \
             full, and the minimum, maximum and mean of a number in them, within a time window if \
             one is given. Use it to see what a record's values look like.",
        ),
    ]
}

fn tool<P: JsonSchema + 'static, R: JsonSchema + 'static>(
    name: &'static str,
    title: &str,
    description: &'static str,
) -> Tool {
    // The tools change nothing, can be called again, and know nothing but this history.
    let annotations = ToolAnnotations::new()
        .read_only(true)
        .destructive(false)
        .idempotent(true)
        .open_world(false);
    Tool::new(name, description, JsonObject::new())
        .with_input_schema::<P>()
        .with_output_schema::<Marked<R>>()
        .with_title(title)
        .with_annotations(annotations)
}
