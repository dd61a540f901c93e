import NIOCore
import SMTP

/// One line of a message's state file: something that happened to one recipient, or to the message as a whole.
package struct StateEntry: Equatable, Sendable {
    /// What happened.
    package enum Event: Equatable, Sendable {
        /// The recipient has the message, or never will; in the latter case the sender was told unless nobody wants to
        /// know. Never `delayed`.
        case final(DeliveryResult.Action, EnhancedStatusCode)
        /// The recipient will never have the message, and the sender is still to be told: with what fails soon after it.
        case unreported(EnhancedStatusCode)
        /// An attempt that failed for now: how many there were, and when the next one is due (seconds since 1970).
        case deferred(attempts: Int, next: Int64, status: EnhancedStatusCode)
        /// The sender was told that the message is late.
        case warned
        /// The administrator wants it to be tried as if it had just come.
        case requeued
        /// The message has one recipient more, of this number: its alias leads there now. The text is the recipient.
        case added
    }

    /// Seconds since 1970.
    package var time: Int64
    /// Which recipient of the envelope, from 1; 0 for the message as a whole.
    package var recipient: Int
    /// What happened.
    package var event: Event
    /// For people: the deliverer's words.
    package var text: String

    /// An entry of its parts.
    package init(time: Int64, recipient: Int, event: Event, text: String = "") {
        self.time = time
        self.recipient = recipient
        self.event = event
        self.text = text
    }

    /// A recipient that a message gets. What its sender wants to hear is left out where there is no room for it.
    package init(time: Int64, added recipient: EnvelopeRecipient, number: Int) {
        var recipient = recipient
        if recipient.description.utf8.count > Self.textLimit { recipient.parameters.originalRecipient = nil }
        self.init(time: time, recipient: number, event: .added, text: recipient.description)
    }

    /// Recipients that a message got after it came, in their order.
    ///
    /// - Parameter count: how many it came with.
    package static func added(_ entries: [StateEntry], after count: Int) -> [EnvelopeRecipient] {
        var recipients: [EnvelopeRecipient] = []
        for entry in entries where entry.event == .added && entry.recipient == count + recipients.count + 1 {
            guard let recipient = try? EnvelopeRecipient(parsing: entry.text.utf8) else { break }
            recipients.append(recipient)
        }
        return recipients
    }

    /// The line with its end: a checksum of the rest, then the rest.
    package var line: String {
        let rest = "\(time) \(recipient) \(words) \(Self.printable(text))"
        var checksum = Checksum()
        checksum.add(rest)
        return "\(checksum.text) \(rest)\n"
    }

    /// What happened, without the text.
    package var words: String {
        switch event {
        case .final(let action, let status): "\(action.rawValue) \(status)"
        case .unreported(let status): "unreported \(status)"
        case .deferred(let attempts, let next, let status): "deferred \(status) \(attempts) \(next)"
        case .warned: "warned"
        case .requeued: "requeued"
        case .added: "added"
        }
    }

    /// More are a line that nobody wrote.
    private static let attempts = 0...Int(Int32.max)

    private static let textLimit = 500

    /// One line of at most so many octets without control characters.
    private static func printable(_ text: String) -> String {
        guard text.utf8.count > textLimit || text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return text }
        let octets = text.utf8.prefix(textLimit).map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: " ") : $0 }
        return String(decoding: octets, as: UTF8.self)
    }

    /// Reads a line without its end; nil where it is torn or something else.
    package init?(line: some Collection<UInt8>) {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else { return nil }
        let rest = String(decoding: line[line.index(after: space)...], as: UTF8.self)
        var checksum = Checksum()
        checksum.add(rest)
        guard line[..<space].elementsEqual(checksum.text.utf8) else { return nil }
        var words = rest.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)[...]
        guard let time = words.popFirst().flatMap({ Int64($0) }), let recipient = words.popFirst().flatMap({ Int($0) }),
            let verb = words.popFirst(), recipient >= 0
        else { return nil }
        self.init(time: time, recipient: recipient, verb: verb, rest: words.popFirst() ?? "")
    }

    private init?(time: Int64, recipient: Int, verb: Substring, rest: Substring) {
        let splits = verb == "deferred" ? 3 : 1
        var words = rest.split(separator: " ", maxSplits: splits, omittingEmptySubsequences: false)[...]
        func status(_ word: Substring?) -> EnhancedStatusCode? {
            word.flatMap { EnhancedStatusCode(parsing: $0.utf8) }
        }
        switch verb {
        case "warned": self.init(time: time, recipient: recipient, event: .warned, text: String(rest))
        case "requeued": self.init(time: time, recipient: recipient, event: .requeued, text: String(rest))
        case "added": self.init(time: time, recipient: recipient, event: .added, text: String(rest))
        case "unreported":
            guard let status = status(words.popFirst()) else { return nil }
            let text = String(words.popFirst() ?? "")
            self.init(time: time, recipient: recipient, event: .unreported(status), text: text)
        case "deferred":
            guard words.count >= 3, let status = status(words[0]), let attempts = Int(words[1]),
                Self.attempts.contains(attempts), let next = Int64(words[2])
            else { return nil }
            let event = Event.deferred(attempts: attempts, next: next, status: status)
            self.init(time: time, recipient: recipient, event: event, text: String(words.dropFirst(3).first ?? ""))
        default:
            guard let action = DeliveryResult.Action(rawValue: String(verb)), action.isFinal,
                let status = status(words.popFirst())
            else { return nil }
            let event = Event.final(action, status)
            self.init(time: time, recipient: recipient, event: event, text: String(words.popFirst() ?? ""))
        }
    }

    /// All entries of a state file. Lines that were torn by a power failure, or lost octets, are passed over: the
    /// worst that comes of it is another attempt.
    package static func parse(_ octets: ByteBuffer) -> [StateEntry] {
        lines(octets).compactMap { StateEntry(line: $0) }
    }

    /// The lines of a state file, without their ends. What has no end was torn, even if only its end is missing.
    static func lines(_ octets: ByteBuffer) -> [ByteBufferView] {
        octets.readableBytesView.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
    }

    /// The lines that are not among these yet, with their ends; afterwards they are.
    static func lines(_ octets: ByteBuffer, notIn present: inout Set<ByteBufferView>) -> ByteBuffer {
        var missing = ByteBuffer()
        for line in lines(octets) where present.insert(line).inserted {
            missing.writeBytes(line)
            missing.writeInteger(UInt8(ascii: "\n"))
        }
        return missing
    }
}
