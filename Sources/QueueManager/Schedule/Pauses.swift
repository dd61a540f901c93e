import Bus
import NIOCore
import SMTP

/// A sender's or a destination's mail waits as it comes, until somebody says otherwise or the time is over.
package struct Pause: Equatable, Sendable {
    /// Whose mail it is about.
    package enum Subject: Hashable, Sendable {
        /// The authenticated user, or the reverse-path, as `MessageStore.key` has it.
        case sender(String)
        /// All reverse-paths and users of a domain, in lower case.
        case senderDomain(String)
        /// The authenticated user.
        case account(String)
        /// A domain in lower case; empty for the mailboxes here.
        case destination(String)
    }

    package let subject: Subject
    /// When it began. Seconds since 1970.
    package let since: Int64
    /// When it ends by itself. Seconds since 1970.
    package let until: Int64?
    /// The administrator's words.
    package let reason: String?

    package init(_ subject: Subject, since: Int64, until: Int64? = nil, reason: String? = nil) {
        self.subject = subject
        self.since = since
        self.until = until
        self.reason = reason
    }

    /// Why mail waits, for people.
    var summary: String { reason.map { "paused: \($0)" } ?? "paused" }

    func isOver(at now: Int64) -> Bool { until.map { $0 <= now / 1000 } ?? false }
}

extension Pause.Subject {
    /// What a request names; nil where it's nothing, or more than one thing.
    init?(_ request: Frame) {
        switch (request["sender"], request["account"], request["destination"]) {
        case (let sender?, nil, nil):
            switch MessageFilter.addresses(sender) {
            case .address(let address): self = .sender(address)
            case .domain(let domain):
                guard !domain.isEmpty else { return nil }
                self = .senderDomain(domain)
            }
        case (nil, let account?, nil):
            guard !account.isEmpty, case .address(let name) = MessageFilter.addresses(account) else { return nil }
            self = .account(name)
        case (nil, nil, let destination?):
            // Nothing would stand for all mailboxes here.
            guard !destination.isEmpty else { return nil }
            self = .destination(MessageFilter.destination(destination))
        default: return nil
        }
    }

    /// The field that names it.
    var field: Frame.Field {
        switch self {
        case .sender(let key): Frame.Field("sender", MessageFilter.text(key: key))
        case .senderDomain(let domain): Frame.Field("sender", "@\(domain)")
        case .account(let key): Frame.Field("account", MessageFilter.text(key: key))
        case .destination(let name): Frame.Field("destination", name.isEmpty ? "local" : name)
        }
    }
}

extension Pause {
    static let verb = "PAUSE"

    /// What a frame says, as `frame` makes it; nil where it makes no sense.
    ///
    /// - Parameter now: when it began where the frame doesn't say so. Seconds since 1970.
    package init?(_ frame: Frame, since now: Int64) {
        guard let subject = Subject(frame) else { return nil }
        self.init(subject, since: frame.integer("since").map { Int64($0) } ?? now, until: nil, reason: frame["reason"])
        guard let text = frame["until"] else { return }
        guard let until = Int64(text), DeliveryTerms.times.contains(until) else { return nil }
        self.init(subject, since: since, until: until, reason: reason)
    }

    /// As a request has it, and the spool's file.
    package var frame: Frame {
        var frame = Frame(Self.verb, [subject.field])
        frame["since"] = String(since)
        frame["until"] = until.map { String($0) }
        frame["reason"] = reason
        return frame
    }
}

extension Pause {
    /// Whether a file is what the spool keeps of pauses.
    package static func isFile(_ content: ByteBuffer) -> Bool { Pauses(file: content) != nil }
}

/// All pauses.
struct Pauses: Equatable, Sendable {
    private var known: [Pause.Subject: Pause] = [:]
    /// Accounts that are disabled and whose mail waits because of that, as authd says; not in the file.
    private(set) var disabled: Set<String> = []

    private static let disabledPause = Pause(.account(""), since: 0, reason: "the account is disabled")

    var isEmpty: Bool { known.isEmpty && disabled.isEmpty }

    /// Says that an account is disabled, or isn't any more.
    mutating func setDisabled(_ account: String, _ isDisabled: Bool) {
        if isDisabled { disabled.insert(account) } else { disabled.remove(account) }
    }

    /// Takes over what others say of accounts.
    mutating func setDisabled(as others: Pauses) { disabled = others.disabled }

    var count: Int { known.count }

    /// Whether all of these are among others, unchanged.
    func areAll(in others: Pauses) -> Bool {
        known.allSatisfy { others.known[$0.key] == $0.value } && disabled.isSubset(of: others.disabled)
    }

    /// In an order that stays.
    var all: [Pause] {
        known.values.map { (since: $0.since, name: $0.subject.field.value, pause: $0) }
            .sorted { ($0.since, $0.name) < ($1.since, $1.name) }
            .map(\.pause)
    }

    /// Begins one, in place of another of the same subject.
    mutating func insert(_ pause: Pause) { known[pause.subject] = pause }

    /// Ends one; false where there is none.
    mutating func remove(_ subject: Pause.Subject) -> Bool { known.removeValue(forKey: subject) != nil }

    /// Ends those whose time is over.
    ///
    /// - Parameter now: milliseconds since 1970.
    mutating func removeEnded(at now: Int64) { known = known.filter { !$0.value.isOver(at: now) } }

    /// When the first of them ends by itself. Milliseconds since 1970.
    var nextEnd: Int64? { known.values.compactMap(\.until).min().map { $0 * 1000 } }

    /// Why a job waits; nil where it doesn't.
    func pause(of job: DeliveryJob) -> Pause? {
        if isEmpty { return nil }
        if let pause = known[.destination(job.destination)] { return pause }
        let message = job.message
        if message.isOfUser, disabled.contains(message.sender) { return Self.disabledPause }
        if message.isOfUser, let pause = known[.account(message.sender)] { return pause }
        for key in message.senderKeys {
            if let pause = known[.sender(key)] { return pause }
            guard let at = key.utf8.lastIndex(of: UInt8(ascii: "@")) else { continue }
            if let pause = known[.senderDomain(String(key[key.index(after: at)...]))] { return pause }
        }
        return nil
    }

    // MARK: The file

    /// As the spool keeps them: a frame for each.
    var file: ByteBuffer {
        var octets = ByteBuffer()
        for pause in all { octets.writeFrame(pause.frame) }
        return octets
    }

    init() {}

    /// Reads the file; nil where it isn't what was written.
    init?(file: ByteBuffer) {
        var parser = FrameParser()
        var octets = file
        do throws(FrameError) {
            while let frame = try parser.next(from: &octets) {
                guard frame.verb == Pause.verb, let pause = Pause(frame, since: 0) else { return nil }
                insert(pause)
            }
        } catch {
            return nil
        }
        guard octets.readableBytes == 0 else { return nil }
    }
}
