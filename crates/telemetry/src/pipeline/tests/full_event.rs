//! Events and envelope items with a given text in every field. Structs are built without defaults, so
//! that fields of a new version of `sentry` do not compile until they are filled, too.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use sentry::protocol::debugid::{CodeId, DebugId};
use sentry::protocol::{
    Addr, AppContext, AppleDebugImage, Attachment, AttachmentType, Breadcrumb, BrowserContext,
    CError, ClientSdkInfo, ClientSdkPackage, Context, DebugImage, DebugMeta, DeviceContext,
    EnvelopeItem, Event, Exception, Frame, GpuContext, IpAddress, ItemContainer, Level, Log,
    LogAttribute, LogEntry, LogLevel, MachException, Mechanism, MechanismMeta, Metric, MetricType,
    MonitorCheckIn, MonitorCheckInStatus, Orientation, OsContext, OtelContext, PosixSignal,
    ProguardDebugImage, RegVal, Request, ResponseContext, RuntimeContext, SessionAggregateItem,
    SessionAggregates, SessionAttributes, SessionStatus, SessionUpdate, Span, SpanId, Stacktrace,
    SymbolicDebugImage, SystemSdkInfo, TemplateInfo, Thread, ThreadId, TraceContext, TraceId,
    Transaction, Unit, Url, User, Value, Values, WasmDebugImage,
};
use sentry::types::Uuid;

/// Texts and a number for all fields. Texts are taken in turn.
pub(super) struct Filler {
    texts: Vec<String>,
    next: usize,
    number: u64,
}

impl Filler {
    pub(super) fn new(texts: Vec<String>, number: u64) -> Self {
        Self { texts, next: 0, number }
    }

    pub(super) fn text(&mut self) -> String {
        self.next += 1;
        self.texts[self.next % self.texts.len()].clone()
    }

    fn some(&mut self) -> Option<String> {
        Some(self.text())
    }

    fn cow(&mut self) -> Cow<'static, str> {
        Cow::Owned(self.text())
    }

    fn value(&mut self) -> Value {
        let nested = serde_json::json!({ self.text(): [self.text(), self.number, true, null] });
        serde_json::json!([self.text(), nested])
    }

    fn values(&mut self) -> BTreeMap<String, Value> {
        BTreeMap::from([(self.text(), self.value()), ("load_ms".to_string(), self.value())])
    }

    fn strings(&mut self) -> BTreeMap<String, String> {
        let known =
            ["catalogue_model", "install_id", "arch"].map(|it| (it.to_string(), self.text()));
        BTreeMap::from_iter(known.into_iter().chain([(self.text(), self.text())]))
    }

    fn url(&mut self) -> Option<Url> {
        let mut url: Url = "https://example.org/".parse().unwrap();
        url.set_path(&self.text());
        Some(url)
    }

    fn addr(&self) -> Option<Addr> {
        Some(Addr(self.number))
    }

    pub(super) fn frame(&mut self, function: String) -> Frame {
        Frame {
            function: Some(function),
            symbol: self.some(),
            module: self.some(),
            package: self.some(),
            filename: self.some(),
            abs_path: self.some(),
            lineno: Some(self.number),
            colno: Some(self.number),
            pre_context: vec![self.text()],
            context_line: self.some(),
            post_context: vec![self.text()],
            in_app: Some(true),
            vars: self.values(),
            image_addr: self.addr(),
            instruction_addr: self.addr(),
            symbol_addr: self.addr(),
            addr_mode: self.some(),
        }
    }

    fn stack(&mut self) -> Option<Stacktrace> {
        let text = self.text();
        let functions = [
            text.clone(),
            format!("core::ptr::drop_in_place<{text}>"),
            format!("<{text} as core::fmt::Debug>::fmt"),
            format!("lilims_core::app::/{text}"),
            format!("std::rt::{{{text}}}"),
            format!("std::rt::a{{{text}}}"),
            "lilims_engine::session::Session::generate".to_string(),
        ];
        Some(Stacktrace {
            frames: functions.into_iter().map(|function| self.frame(function)).collect(),
            frames_omitted: Some((self.number, self.number)),
            registers: BTreeMap::from([(self.text(), RegVal(self.number))]),
        })
    }

    fn mechanism(&mut self) -> Option<Mechanism> {
        Some(Mechanism {
            ty: self.text(),
            description: self.some(),
            help_link: self.url(),
            handled: Some(false),
            synthetic: Some(true),
            data: self.values(),
            meta: MechanismMeta {
                errno: Some(CError { number: 7, name: self.some() }),
                signal: Some(PosixSignal {
                    number: 7,
                    code: Some(7),
                    name: self.some(),
                    code_name: self.some(),
                }),
                mach_exception: Some(MachException {
                    exception: 7,
                    code: self.number,
                    subcode: self.number,
                    name: self.some(),
                }),
            },
        })
    }

    fn exception(&mut self, ty: String) -> Exception {
        Exception {
            ty,
            value: self.some(),
            module: self.some(),
            stacktrace: self.stack(),
            raw_stacktrace: self.stack(),
            thread_id: Some(ThreadId::String(self.text())),
            mechanism: self.mechanism(),
        }
    }

    fn thread(&mut self) -> Thread {
        Thread {
            id: Some(ThreadId::String(self.text())),
            name: self.some(),
            stacktrace: self.stack(),
            raw_stacktrace: self.stack(),
            crashed: true,
            current: true,
        }
    }

    fn user(&mut self) -> Option<User> {
        Some(User {
            id: self.some(),
            email: self.some(),
            ip_address: Some(IpAddress::Exact(marked_address())),
            username: self.some(),
            other: self.values(),
        })
    }

    fn request(&mut self) -> Option<Request> {
        Some(Request {
            url: self.url(),
            method: self.some(),
            data: self.some(),
            query_string: self.some(),
            cookies: self.some(),
            headers: self.strings(),
            env: self.strings(),
        })
    }

    fn breadcrumb(&mut self) -> Breadcrumb {
        Breadcrumb {
            timestamp: SystemTime::now(),
            ty: self.text(),
            category: self.some(),
            level: Level::Warning,
            message: self.some(),
            data: self.values(),
        }
    }

    fn template(&mut self) -> Option<TemplateInfo> {
        Some(TemplateInfo {
            filename: self.some(),
            abs_path: self.some(),
            lineno: Some(self.number),
            colno: Some(self.number),
            pre_context: vec![self.text()],
            context_line: self.some(),
            post_context: vec![self.text()],
        })
    }

    fn debug_meta(&mut self) -> DebugMeta {
        let apple = AppleDebugImage {
            name: self.text(),
            arch: self.some(),
            cpu_type: Some(7),
            cpu_subtype: Some(7),
            image_addr: Addr(self.number),
            image_size: self.number,
            image_vmaddr: Addr(self.number),
            uuid: Uuid::nil(),
        };
        let symbolic = SymbolicDebugImage {
            name: self.text(),
            arch: self.some(),
            image_addr: Addr(self.number),
            image_size: self.number,
            image_vmaddr: Addr(self.number),
            id: DebugId::nil(),
            code_id: Some(CodeId::new(self.text())),
            debug_file: self.some(),
        };
        let wasm = WasmDebugImage {
            name: self.text(),
            debug_id: Uuid::nil(),
            debug_file: self.some(),
            code_id: self.some(),
            code_file: self.text(),
        };
        DebugMeta {
            sdk_info: Some(SystemSdkInfo {
                sdk_name: self.text(),
                version_major: 7,
                version_minor: 7,
                version_patchlevel: 7,
            }),
            images: vec![
                DebugImage::Apple(apple),
                DebugImage::Symbolic(symbolic),
                DebugImage::Proguard(ProguardDebugImage { uuid: Uuid::nil() }),
                DebugImage::Wasm(wasm),
            ],
        }
    }

    fn sdk(&mut self) -> ClientSdkInfo {
        ClientSdkInfo {
            name: self.text(),
            version: self.text(),
            integrations: vec![self.text()],
            packages: vec![ClientSdkPackage { name: self.text(), version: self.text() }],
        }
    }

    fn device(&mut self) -> DeviceContext {
        let bytes = Some(self.number);
        DeviceContext {
            name: self.some(),
            family: self.some(),
            model: self.some(),
            model_id: self.some(),
            arch: self.some(),
            battery_level: Some(7.0),
            orientation: Some(Orientation::Portrait),
            simulator: Some(true),
            memory_size: bytes,
            free_memory: bytes,
            usable_memory: bytes,
            storage_size: bytes,
            free_storage: bytes,
            external_storage_size: bytes,
            external_free_storage: bytes,
            boot_time: Some(SystemTime::now()),
            timezone: self.some(),
            other: self.values(),
        }
    }

    fn app(&mut self) -> AppContext {
        AppContext {
            app_start_time: Some(SystemTime::now()),
            device_app_hash: self.some(),
            build_type: self.some(),
            app_identifier: self.some(),
            app_name: self.some(),
            app_version: self.some(),
            app_build: self.some(),
            other: self.values(),
        }
    }

    fn gpu(&mut self) -> GpuContext {
        GpuContext {
            name: self.text(),
            version: self.some(),
            driver_version: self.some(),
            id: self.some(),
            vendor_id: self.some(),
            vendor_name: self.some(),
            memory_size: Some(7),
            api_type: self.some(),
            multi_threaded_rendering: Some(true),
            npot_support: Some(true),
            max_texture_size: Some(7),
            graphics_shader_level: self.some(),
            supports_draw_call_instancing: Some(true),
            supports_ray_tracing: Some(true),
            supports_compute_shaders: Some(true),
            supports_geometry_shaders: Some(true),
            other: self.values(),
        }
    }

    fn trace(&mut self) -> TraceContext {
        TraceContext {
            span_id: SpanId::default(),
            trace_id: TraceId::default(),
            parent_span_id: Some(SpanId::default()),
            op: self.some(),
            description: self.some(),
            status: None,
            origin: self.some(),
            data: self.values(),
        }
    }

    fn contexts(&mut self) -> BTreeMap<String, Context> {
        let os = OsContext {
            name: self.some(),
            version: self.some(),
            build: self.some(),
            kernel_version: self.some(),
            rooted: Some(true),
            other: self.values(),
        };
        let runtime =
            RuntimeContext { name: self.some(), version: self.some(), other: self.values() };
        let browser =
            BrowserContext { name: self.some(), version: self.some(), other: self.values() };
        let otel = OtelContext {
            attributes: self.values(),
            resource: self.values(),
            other: self.values(),
        };
        let response = ResponseContext {
            cookies: self.some(),
            headers: self.strings(),
            status_code: Some(self.number),
            body_size: Some(self.number),
            data: Some(self.value()),
        };
        let contexts: [(&str, Context); 11] = [
            ("os", os.into()),
            ("device", self.device().into()),
            ("runtime", runtime.into()),
            ("app", self.app().into()),
            ("browser", browser.into()),
            ("trace", self.trace().into()),
            ("gpu", self.gpu().into()),
            ("otel", otel.into()),
            ("response", response.into()),
            ("figures", Context::Other(self.values())),
            ("device_class", Context::Other(self.values())),
        ];
        let named = contexts.map(|(name, context)| (name.to_string(), context));
        let other = (self.text(), Context::Other(self.values()));
        BTreeMap::from_iter(named.into_iter().chain([other]))
    }

    /// An event whose last exception has the type `ty`, and whose message is `message`.
    pub(super) fn event(&mut self, ty: Option<String>, message: String) -> Event<'static> {
        let exceptions = ty.map(|ty| vec![self.exception("panic".to_string()), self.exception(ty)]);
        Event {
            event_id: Uuid::from_u128(7),
            level: Level::Warning,
            fingerprint: Cow::Owned(vec![self.cow()]),
            culprit: self.some(),
            transaction: self.some(),
            message: Some(message),
            logentry: Some(LogEntry { message: self.text(), params: vec![self.value()] }),
            logger: self.some(),
            modules: self.strings(),
            platform: self.cow(),
            timestamp: SystemTime::now(),
            server_name: Some(self.cow()),
            release: Some(self.cow()),
            dist: Some(self.cow()),
            environment: Some(self.cow()),
            user: self.user(),
            request: self.request(),
            contexts: self.contexts(),
            breadcrumbs: vec![self.breadcrumb()].into(),
            exception: exceptions.map_or_else(Values::new, Values::from),
            stacktrace: self.stack(),
            template: self.template(),
            threads: vec![self.thread()].into(),
            tags: self.strings(),
            extra: self.values(),
            debug_meta: Cow::Owned(self.debug_meta()),
            sdk: Some(Cow::Owned(self.sdk())),
        }
    }

    /// One item of every kind but events.
    pub(super) fn other_items(&mut self) -> Vec<EnvelopeItem> {
        let attributes = |it: &mut Self| SessionAttributes {
            release: it.cow(),
            environment: Some(it.cow()),
            ip_address: Some(marked_address()),
            user_agent: it.some(),
        };
        let session = SessionUpdate {
            session_id: Uuid::nil(),
            distinct_id: self.some(),
            sequence: Some(self.number),
            timestamp: Some(SystemTime::now()),
            started: SystemTime::now(),
            init: true,
            duration: Some(7.0),
            status: SessionStatus::Crashed,
            errors: self.number,
            attributes: attributes(self),
        };
        let aggregate = SessionAggregateItem {
            started: SystemTime::now(),
            distinct_id: self.some(),
            exited: 7,
            errored: 7,
            abnormal: 7,
            crashed: 7,
        };
        let aggregates =
            SessionAggregates { aggregates: vec![aggregate], attributes: attributes(self) };
        let check_in = MonitorCheckIn {
            check_in_id: Uuid::nil(),
            monitor_slug: self.text(),
            status: MonitorCheckInStatus::Error,
            environment: self.some(),
            duration: Some(7.0),
            monitor_config: None,
        };
        vec![
            session.into(),
            aggregates.into(),
            self.transaction().into(),
            self.attachment().into(),
            check_in.into(),
            ItemContainer::from(vec![self.log()]).into(),
            ItemContainer::from(vec![self.metric()]).into(),
        ]
    }

    fn transaction(&mut self) -> Transaction<'static> {
        let span = Span { description: self.some(), data: self.values(), ..Span::default() };
        Transaction {
            event_id: Uuid::nil(),
            name: self.some(),
            release: Some(self.cow()),
            environment: Some(self.cow()),
            user: self.user(),
            tags: self.strings(),
            extra: self.values(),
            sdk: Some(Cow::Owned(self.sdk())),
            platform: self.cow(),
            timestamp: Some(SystemTime::now()),
            start_timestamp: SystemTime::now(),
            spans: vec![span],
            contexts: self.contexts(),
            request: self.request(),
            server_name: Some(self.cow()),
        }
    }

    pub(super) fn attachment(&mut self) -> Attachment {
        Attachment {
            buffer: self.text().into_bytes(),
            filename: self.text(),
            content_type: self.some(),
            ty: Some(AttachmentType::Custom(self.text())),
        }
    }

    fn log(&mut self) -> Log {
        Log {
            level: LogLevel::Error,
            body: self.text(),
            trace_id: Some(TraceId::default()),
            timestamp: SystemTime::now(),
            severity_number: None,
            attributes: BTreeMap::from([(self.text(), LogAttribute(self.value()))]),
        }
    }

    fn metric(&mut self) -> Metric {
        Metric {
            r#type: MetricType::Gauge,
            name: self.cow(),
            value: 7.0,
            timestamp: SystemTime::now(),
            trace_id: TraceId::default(),
            span_id: None,
            unit: Some(Unit::from(self.cow())),
            attributes: BTreeMap::from([(self.cow(), LogAttribute(self.value()))]),
        }
    }
}

/// An address that is no one's.
fn marked_address() -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77))
}
