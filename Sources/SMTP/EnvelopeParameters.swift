/// The parameters of MAIL (RFC 5321 §4.1.1.2 and the extensions named at each).
package struct MailParameters: Hashable, Sendable {
    /// What the message body may hold.
    package enum Body: String, Hashable, Sendable {
        /// ASCII lines.
        case sevenBit = "7BIT"
        /// Lines of any octets (RFC 6152).
        case eightBitMIME = "8BITMIME"
        /// Any octets at all (RFC 3030).
        case binaryMIME = "BINARYMIME"
    }

    /// How much of the message a delivery report carries (RFC 3461 §4.3).
    package enum Return: String, Hashable, Sendable {
        /// All of it.
        case full = "FULL"
        /// Its header.
        case headers = "HDRS"
    }

    /// Octets that the client says the message has; what does not fit an `Int` is `Int.max` (RFC 1870).
    package var size: Int?
    /// BODY.
    package var body: Body?
    /// AUTH: who submitted the message first, decoded; `<>` for unknown (RFC 4954 §5).
    package var auth: String?
    /// RET.
    package var ret: Return?
    /// ENVID, decoded: printable ASCII (RFC 3461 §4.4).
    package var envelopeID: String?
    /// SMTPUTF8 (RFC 6531 §3.4).
    package var isUTF8 = false
    /// REQUIRETLS (RFC 8689 §2).
    package var requiresTLS = false
    /// BY (RFC 2852 §4).
    package var deliverBy: DeliverBy?
    /// HOLDFOR or HOLDUNTIL (RFC 4865 §4).
    package var hold: FutureRelease?
    /// MT-PRIORITY (RFC 6710 §4): -9 to 9.
    package var priority: Int?
    /// XVERP: each recipient's mail has a sender of its own.
    package var variableSender: VariableSender?

    /// No parameters.
    package init() {}

    /// Whether nothing is set.
    package var isEmpty: Bool { self == MailParameters() }

    init(_ scanner: inout ByteScanner) throws(EnvelopeError) {
        self.init()
        var seen = ParameterNames()
        while let (name, value) = try Parameter.next(&scanner) {
            try seen.insert(name)
            guard try set(name, value) else { throw .malformedParameter(name) }
        }
    }

    private mutating func set(_ text: String, _ value: ArraySlice<UInt8>?) throws(EnvelopeError) -> Bool {
        guard let name = MailParameterName(rawValue: text) else { throw .unknownParameter(text) }
        switch name {
        case .size:
            size = Parameter.number(value)
            return size != nil
        case .body:
            body = Parameter.keyword(value).flatMap(Body.init(rawValue:))
            return body != nil
        case .auth:
            auth = Parameter.xtext(value, maximum: 500)
            return auth != nil
        case .ret:
            ret = Parameter.keyword(value).flatMap(Return.init(rawValue:))
            return ret != nil
        case .envelopeID:
            envelopeID = Parameter.xtext(value, maximum: 100)
            return envelopeID.map { $0.utf8.allSatisfy(\.isPrintable) } ?? false
        case .utf8:
            isUTF8 = true
            return value == nil
        case .requireTLS:
            requiresTLS = true
            return value == nil
        case .deliverBy:
            deliverBy = value.flatMap { DeliverBy($0) }
            return deliverBy != nil
        case .holdFor, .holdUntil:
            // One of them, once (RFC 4865 §4).
            guard hold == nil, let value else { return false }
            hold = name == .holdFor ? Self.interval(value) : InternetTimestamp.seconds(value).map { .until($0) }
            return hold != nil
        case .priority:
            priority = value.flatMap { Self.priority($0) }
            return priority != nil
        case .variableSender:
            variableSender = value.map { VariableSender($0) } ?? .standard
            return variableSender != nil
        }
    }

    private static func interval(_ value: ArraySlice<UInt8>) -> FutureRelease? {
        guard (1...9).contains(value.count), let seconds = Parameter.number(value), seconds > 0 else { return nil }
        return .interval(seconds)
    }

    /// `["-"] DIGIT`.
    private static func priority(_ value: ArraySlice<UInt8>) -> Int? {
        let isNegative = value.first == UInt8(ascii: "-")
        let digits = value.dropFirst(isNegative ? 1 : 0)
        guard digits.count == 1, let digit = digits.first, digit.isDigit else { return nil }
        return isNegative ? -Int(digit - 0x30) : Int(digit - 0x30)
    }

    func write(to text: inout String) {
        if let size { text += " SIZE=\(size)" }
        if let body { text += " BODY=\(body.rawValue)" }
        if let auth { text += " AUTH=\(XText.encode(auth.utf8))" }
        if let ret { text += " RET=\(ret.rawValue)" }
        if let envelopeID { text += " ENVID=\(XText.encode(envelopeID.utf8))" }
        if isUTF8 { text += " SMTPUTF8" }
        if requiresTLS { text += " REQUIRETLS" }
        if let deliverBy { text += " BY=\(deliverBy.text)" }
        switch hold {
        case .interval(let seconds): text += " HOLDFOR=\(seconds)"
        case .until(let time): text += " HOLDUNTIL=\(InternetTimestamp.text(time))"
        case nil: break
        }
        if let priority { text += " MT-PRIORITY=\(priority)" }
        if let variableSender { text += " XVERP=\(variableSender.text)" }
    }
}

/// The parameters of RCPT (RFC 3461 §4.1, §4.2).
package struct RecipientParameters: Hashable, Sendable {
    /// When the sender wants a delivery report. The empty set is NEVER.
    package struct Notify: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) {
            self.rawValue = rawValue
        }

        /// Never.
        package static let never: Notify = []
        /// When the message was delivered.
        package static let success = Notify(rawValue: 1)
        /// When it could not be delivered.
        package static let failure = Notify(rawValue: 2)
        /// When it is late.
        package static let delay = Notify(rawValue: 4)
    }

    /// The recipient as the sender first wrote it.
    package struct OriginalRecipient: Hashable, Sendable {
        /// The kind of address, such as `rfc822`.
        package let type: String
        /// The address, decoded; without control characters.
        package let address: String

        /// Whether its type is that of addresses in UTF-8 (RFC 6533 §3).
        package var isUTF8: Bool { Self.isUTF8(type) }

        static func isUTF8(_ type: String) -> Bool { type.utf8.map(\.asciiLowercased) == Array("utf-8".utf8) }

        /// The address as ORCPT has it, in ASCII.
        var written: String { isUTF8 ? UTF8AddressText.encode(address) : XText.encode(address.utf8) }

        /// An original recipient of parts that are known to be good.
        package init(type: String, address: String) {
            self.type = type
            self.address = address
        }
    }

    /// NOTIFY; nil where the sender left it to the server.
    package var notify: Notify?
    /// ORCPT.
    package var originalRecipient: OriginalRecipient?

    /// No parameters.
    package init() {}

    /// Whether nothing is set.
    package var isEmpty: Bool { notify == nil && originalRecipient == nil }

    init(_ scanner: inout ByteScanner) throws(EnvelopeError) {
        self.init()
        var seen = ParameterNames()
        while let (name, value) = try Parameter.next(&scanner) {
            try seen.insert(name)
            switch name {
            case "NOTIFY": notify = Self.notify(value)
            case "ORCPT": originalRecipient = Self.originalRecipient(value)
            default: throw .unknownParameter(name)
            }
            guard name == "NOTIFY" ? notify != nil : originalRecipient != nil else {
                throw .malformedParameter(name)
            }
        }
    }

    private static func notify(_ value: ArraySlice<UInt8>?) -> Notify? {
        guard let keywords = Parameter.keyword(value) else { return nil }
        if keywords == "NEVER" { return .never }
        var notify: Notify = []
        for keyword in keywords.split(separator: ",", omittingEmptySubsequences: false) {
            switch keyword {
            case "SUCCESS": notify.insert(.success)
            case "FAILURE": notify.insert(.failure)
            case "DELAY": notify.insert(.delay)
            default: return nil
            }
        }
        return notify
    }

    private static func originalRecipient(_ value: ArraySlice<UInt8>?) -> OriginalRecipient? {
        guard let value, let semicolon = value.firstIndex(of: UInt8(ascii: ";")) else { return nil }
        let type = value[..<semicolon]
        guard !type.isEmpty, type.allSatisfy(\.isAtomText) else { return nil }
        let name = String(decoding: type, as: UTF8.self)
        let text = value[(semicolon + 1)...]
        let isUTF8 = OriginalRecipient.isUTF8(name)
        guard let address = isUTF8 ? UTF8AddressText.decode(text, maximum: 500) : Parameter.xtext(text, maximum: 500)
        else { return nil }
        return OriginalRecipient(type: name, address: address)
    }

    func write(to text: inout String) {
        if let notify {
            var words: [String] = []
            if notify.contains(.success) { words.append("SUCCESS") }
            if notify.contains(.failure) { words.append("FAILURE") }
            if notify.contains(.delay) { words.append("DELAY") }
            text += " NOTIFY=" + (words.isEmpty ? "NEVER" : words.joined(separator: ","))
        }
        if let originalRecipient {
            text += " ORCPT=\(originalRecipient.type);\(originalRecipient.written)"
        }
    }
}
