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
            restored: Arc<Slot<T>>,
            delivery: Delivery,
            _alive: Arc<()>,
        }

        impl<T: Serialize + Clone + Send + Sync + 'static> RecordingBuffer<T> {
            fn new(cfg: &BufferCfg, persistence: &Persistence, record: RecordHandle) -> Self {
                let inner = $core::buffer::Buffer::new(cfg);
                let restored = Slot::new();
                let delivery = match cfg {
                    BufferCfg::SpmcRing { .. } => Delivery::First,
                    BufferCfg::SingleLatest => Delivery::Latest,
                    BufferCfg::Mailbox => Delivery::Once,
                };
                let _alive = persistence.push_buffer(&record, &restored);
                Self { inner, capture: Capture::new(record), restored, delivery, _alive }
            }
        }

        impl<T: Serialize + Clone + Send + Sync + 'static> DynBuffer<T> for RecordingBuffer<T> {
            fn push(&self, value: T) {
                self.capture.record(&value);
                self.restored.clear();
                $core::buffer::Buffer::push(&self.inner, value);
            }

            fn subscribe_boxed(&self) -> Box<dyn BufferReader<T> + Send> {
                let inner = || self.inner.subscribe_boxed();
                match Restored::subscribe(&self.restored, self.delivery, inner) {
                    (Restored::None, inner) => inner,
                    (restored, inner) => Box::new(RestoredReader { restored, inner }),
                }
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

        /// A subscription that begins with the restored value.
        struct RestoredReader<T: Clone + Send> {
            restored: Restored<T>,
            inner: Box<dyn BufferReader<T> + Send>,
        }
    };
}

pub(crate) use buffers;
