import Bus
import SMTP
import Spool

/// Which messages a request on control.sock is about: those that meet all of its conditions (docs/protocols.md,
/// "control.sock").
package struct MessageFilter: Equatable, Sendable {
    /// An address, or all addresses of a domain.
    enum Addresses: Equatable, Sendable {
        /// As `MessageStore.key` has it.
        case address(String)
        /// In lower case.
        case domain(String)

        /// Whether an address is meant, written as `MessageStore.key` has it.
        func contains(_ key: String) -> Bool {
            switch self {
            case .address(let address): key == address
            case .domain(let domain):
                key.utf8.lastIndex(of: UInt8(ascii: "@")).map { key[key.index(after: $0)...] == domain } ?? false
            }
        }

        var text: String {
            switch self {
            case .address(let key): MessageFilter.text(key: key)
            case .domain(let domain): "@\(domain)"
            }
        }
    }

    /// What can be asked of a message's state.
    enum State: Equatable, Sendable {
        case category(QueuedMessage.Category)
        /// Some of it waits because its sender's or its destination's mail is paused.
        case paused
    }

    /// One of these; none for all.
    var ids: [MessageID] = []
    /// The authenticated user, or the reverse-path.
    var sender: Addresses?
    /// The authenticated user.
    var account: String?
    /// Also one that has a final result.
    var recipient: Addresses?
    /// Of a recipient that is still to be served; as `LocalDomains.key` has it.
    var domain: String?
    /// Where a recipient is still to be served; empty for the mailboxes here.
    var destination: String?
    var state: State?
    /// It came at least so long ago. Seconds.
    var older: Int64?
    /// It came less long ago. Seconds.
    var newer: Int64?
    /// It has at least so many octets.
    var larger: Int?
    /// It has fewer.
    var smaller: Int?
    /// Stands in the last words about a recipient that is still to be served, in small letters.
    var reason: String?

    /// What is wrong with a condition.
    package struct Fault: Error, Equatable {
        package let field: String
        package let reason: String

        var text: String { "\(field): \(reason)" }
    }

    /// More than a request can hold is somebody's mistake.
    private static let seconds: ClosedRange<Int64> = 0...(1 << 40)

    /// A filter for all messages.
    package init() {}

    /// The fields that are conditions.
    static let names: Set = [
        "id", "sender", "account", "recipient", "domain", "destination", "state", "older", "newer", "larger", "smaller",
        "reason",
    ]

    /// What a request asks for; its other fields are passed over.
    package init(_ request: Frame) throws(Fault) {
        for name in Self.names.sorted() where name != "id" && request.all(name).count > 1 {
            throw Fault(field: name, reason: "stands there more than once")
        }
        for name in request.all("id") {
            guard let id = MessageID(name) else { throw Fault(field: "id", reason: "\(name) is no message's ID") }
            ids.append(id)
        }
        // Nothing is the null reverse-path, but no account, recipient or domain: it would stand for all mailboxes here.
        for name in ["account", "recipient", "domain", "destination"] where request[name] == "" {
            throw Fault(field: name, reason: "is empty")
        }
        for name in ["sender", "recipient"] where request[name] == "@" {
            throw Fault(field: name, reason: "there is no domain")
        }
        sender = request["sender"].map { Self.addresses($0) }
        if let name = request["account"] {
            guard case .address(let key) = Self.addresses(name) else {
                throw Fault(field: "account", reason: "\(name) is no user's name")
            }
            account = key
        }
        recipient = request["recipient"].map { Self.addresses($0) }
        domain = request["domain"].map(LocalDomains.key)
        destination = request["destination"].map(Self.destination)
        if let name = request["state"] {
            if let category = QueuedMessage.Category(rawValue: name) {
                state = .category(category)
            } else if name == "paused" {
                state = .paused
            } else {
                throw Fault(field: "state", reason: "there is no state \(name)")
            }
        }
        // 0 would be everything, which has to be said as such.
        older = try Self.number(request, "older", in: 1...(1 << 40))
        newer = try Self.number(request, "newer", in: Self.seconds)
        larger = try Self.number(request, "larger", in: 1...(1 << 50))
        smaller = try Self.number(request, "smaller", in: 0...(1 << 50))
        reason = request["reason"]?.lowercased()
        if reason == "" { throw Fault(field: "reason", reason: "is empty") }
    }

    private static func number<Value: FixedWidthInteger>(
        _ request: Frame,
        _ field: String,
        in range: ClosedRange<Value>
    ) throws(Fault) -> Value? {
        guard let text = request[field] else { return nil }
        guard let number = Value(text), range.contains(number) else {
            throw Fault(field: field, reason: "\(text) is no number that makes sense")
        }
        return number
    }

    /// `@example.net` is a domain; all else an address, the null reverse-path where it's empty, or a user's name.
    static func addresses(_ text: String) -> Addresses {
        text.utf8.first == UInt8(ascii: "@")
            ? .domain(MailAddress.lowercased(domain: String(text.dropFirst()))) : .address(key(text))
    }

    /// `local` stands for the mailboxes here, however it's written.
    static func destination(_ text: String) -> String {
        let name = LocalDomains.key(text)
        return name == "local" ? "" : name
    }

    /// What an address is looked up by; a name that is no address, such as a user's, as it is.
    private static func key(_ text: String) -> String {
        (try? MailAddress(parsing: text.utf8, options: .envelope)).map { MessageStore.key($0) } ?? text
    }

    /// What is read as this key again: an address whose key looks like something else, such as `@x@example.net`, is written
    /// with its quotes.
    static func text(key: String) -> String {
        if addresses(key) == .address(key) { return key }
        guard let at = key.utf8.lastIndex(of: UInt8(ascii: "@")),
            let address = try? MailAddress(
                localPart: String(key[..<at]),
                domain: String(key[key.index(after: at)...])
            )
        else { return key }
        return address.description
    }

    /// The fields of a request that say the same.
    package var fields: [Frame.Field] {
        var fields = ids.map { Frame.Field("id", $0.description) }
        func add(_ name: String, _ value: String?) { if let value { fields.append(.init(name, value)) } }
        add("sender", sender?.text)
        add("account", account.map(Self.text(key:)))
        add("recipient", recipient?.text)
        add("domain", domain)
        add("destination", destination.map { $0.isEmpty ? "local" : $0 })
        switch state {
        case .category(let category): add("state", category.rawValue)
        case .paused: add("state", "paused")
        case nil: break
        }
        add("older", older.map { String($0) })
        add("newer", newer.map { String($0) })
        add("larger", larger.map { String($0) })
        add("smaller", smaller.map { String($0) })
        add("reason", reason)
        return fields
    }

    /// Whether every message meets it.
    var isEmpty: Bool { self == MessageFilter() }

    /// Whether it names messages and asks nothing else of them.
    var isByID: Bool {
        var others = self
        others.ids = []
        return !ids.isEmpty && others.isEmpty
    }

    /// Whether it asks for a recipient's domain and nothing else.
    var isByDomain: Bool {
        var others = self
        others.domain = nil
        return domain != nil && others.isEmpty
    }

    /// Whether it asks for a destination and nothing else.
    var isByDestination: Bool {
        var others = self
        others.destination = nil
        return destination != nil && others.isEmpty
    }
}

// MARK: What is in memory

extension MessageFilter {
    /// Whether a message can meet it, by all that is known without reading the spool.
    ///
    /// - Parameter now: milliseconds since 1970.
    func mayMatch(_ message: QueuedMessage, _ queue: Queue, at now: Int64) -> Bool {
        if message.state == .gone { return false }
        if let sender, !message.senderKeys.contains(where: sender.contains) { return false }
        if let account, !message.isOfUser || message.sender != account { return false }
        if case .address(let address) = recipient, !message.recipientKeys.contains(MessageStore.hash(address)) {
            return false
        }
        if let destination, !message.jobs.contains(where: { $0.destination == destination }) { return false }
        if let domain, !message.jobs.contains(where: { mayBe(domain, of: $0, queue) }) { return false }
        switch state {
        case .category(let category): if message.category != category { return false }
        case .paused: if !message.jobs.contains(where: { queue.schedule.pauses.pause(of: $0) != nil }) { return false }
        case nil: break
        }
        let age = now / 1000 - message.arrived
        if let older, age < older { return false }
        if let newer, age >= newer { return false }
        if let larger, message.octets < larger { return false }
        if let smaller, message.octets >= smaller { return false }
        return true
    }

    /// All domains with mailboxes here are one destination, and nobody knows of any before authd has said.
    private func mayBe(_ domain: String, of job: DeliveryJob, _ queue: Queue) -> Bool {
        switch job.destination {
        case domain, LocalDomains.unknown: true
        case "": queue.localDomains.known?.contains(domain) ?? true
        default: false
        }
    }

    /// Whether the message's file has to be read.
    func needsSpool(_ queue: Queue) -> Bool {
        if recipient != nil || reason != nil { return true }
        guard let domain else { return false }
        // What nobody has decided on yet may be for anybody.
        return queue.localDomains.known?.contains(domain) ?? true
            || queue.store.count(destination: LocalDomains.unknown) > 0
    }

    /// Whether a message that may match does so, by what is in the spool.
    ///
    /// - Parameters:
    ///   - open: recipients that are still to be served, from 0.
    ///   - reasons: the last words about recipients.
    func matches(_ envelope: MessageEnvelope, open: [Int], reasons: [Int: String]) -> Bool {
        if let recipient,
            !envelope.recipients.contains(where: { recipient.contains(MessageStore.key($0.address)) })
        {
            return false
        }
        if domain != nil, !open.contains(where: { isInDomain(envelope.recipients[$0]) }) { return false }
        if reason != nil, !open.contains(where: { isReason(reasons[$0]) }) { return false }
        return true
    }

    /// Whether some of a message's recipients can be meant, and not all.
    var isAboutRecipients: Bool { recipient != nil || domain != nil || destination != nil || reason != nil }

    /// Whether one recipient of a message that matches is meant.
    ///
    /// - Parameters:
    ///   - destination: where its mail goes.
    ///   - last: the last words about it.
    func isMeant(_ recipient: EnvelopeRecipient, at destination: String, _ last: String?) -> Bool {
        if let asked = self.recipient, !asked.contains(MessageStore.key(recipient.address)) { return false }
        if let asked = self.destination, destination != asked { return false }
        return isInDomain(recipient) && isReason(last)
    }

    private func isInDomain(_ recipient: EnvelopeRecipient) -> Bool {
        domain.map { LocalDomains.key(recipient.address.domain) == $0 } ?? true
    }

    private func isReason(_ last: String?) -> Bool {
        reason.map { last?.lowercased().contains($0) ?? false } ?? true
    }
}
