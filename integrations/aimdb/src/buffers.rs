//! AimDB's buffers, for either line: a subscription as a [`Source`](crate::tap::Source), and a
//! buffer that records each value when it is pushed.
//!
//! A macro, because both lines have the same types in different crates.

macro_rules! buffers {
    ($core:ident, $adapter:ident, $metrics:literal, { $($more:item)* }) => {
        /// A subscription.
        struct Reader<T: Clone + Send>(Subscription<T>);

        impl<T: Serialize + Clone + Send + 'static> Source for Reader<T> {
            type Value = T;

            async fn recv(&mut self) -> Read<T> {
                read(self.0.recv().await)
            }

            fn try_recv(&mut self) -> Read<T> {
                read(self.0.try_recv())
            }
        }

        fn read<T>(received: Result<T, DbError>) -> Read<T> {
            match received {
                Ok(value) => Read::Value(value),
                Err(DbError::BufferLagged { lag_count, .. }) => Read::Lagged(lag_count),
                Err(DbError::BufferEmpty) => Read::Empty,
                Err(_) => Read::Closed,
            }
        }

        /// A buffer that records what is pushed into it.
        struct RecordingBuffer<T: Clone + Send + Sync + 'static> {
            inner: $adapter::TokioBuffer<T>,
            capture: Capture,
            _alive: Arc<()>,
        }

        impl<T: Serialize + Clone + Send + Sync + 'static> RecordingBuffer<T> {
            fn new(cfg: &BufferCfg, persistence: &Persistence, record: RecordHandle) -> Self {
                let inner = $core::buffer::Buffer::new(cfg);
                let _alive = persistence.push_buffer(&record);
                Self { inner, capture: Capture::new(record), _alive }
            }
        }

        impl<T: Serialize + Clone + Send + Sync + 'static> DynBuffer<T> for RecordingBuffer<T> {
            fn push(&self, value: T) {
                self.capture.record(&value);
                $core::buffer::Buffer::push(&self.inner, value);
            }

            fn subscribe_boxed(&self) -> Box<dyn BufferReader<T> + Send> {
                self.inner.subscribe_boxed()
            }

            /// The inner buffer, so that a downcast finds AimDB's own type.
            fn as_any(&self) -> &dyn Any {
                self.inner.as_any()
            }

            $($more)*

            #[cfg(feature = $metrics)]
            fn metrics_snapshot(&self) -> Option<$core::buffer::BufferMetricsSnapshot> {
                DynBuffer::metrics_snapshot(&self.inner)
            }

            #[cfg(feature = $metrics)]
            fn reset_metrics(&self) {
                DynBuffer::reset_metrics(&self.inner);
            }
        }
    };
}

pub(crate) use buffers;
