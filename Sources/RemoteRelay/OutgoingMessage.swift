import Deliverer
import Logging
import MIME
import MailAuth
import NIOCore
import Rewriting
import SMTP

/// A message on its way to the hosts of its destination. Knows whether it goes as it is, or in shorter lines, because one
/// has more octets than SMTP carries (RFC 5321 §4.5.3.1.6). Belongs to its source's event loop.
///
/// Mail without such lines costs nothing for it: of a message in memory, and of the first piece of others, only the octets
/// around line ends are looked at; of the rest, lines are counted while they are sent. A long line that comes up there ends
/// the session before the dot, and the message goes again after it was read as a whole.
///
/// Mail is signed over the octets that the other host gets, so a large message is read once more before it's sent.
final class OutgoingMessage {
    /// How it's sent.
    enum Form: Hashable {
        /// With DATA: lines that end in CRLF.
        case lines
        /// The same, of octets below 128 in all bodies (RFC 6152 §3).
        case sevenBit
        /// As it came, with BDAT.
        case binary
    }

    private enum Lines {
        case unknown
        /// No line of a message in memory is too long.
        case short
        /// One is; what is to be done about it, nobody has looked yet.
        case long
        case rewritten([LongLineSurvey.Edit])
        case refused(DeliveryResult)
    }

    let source: MessageSource
    private let id: String
    private let submitter: Submitter?
    private let signer: MessageSigner?
    private let hostname: String
    private let logger: Logger
    /// In the forms that are lines.
    private var lines: [Form: Lines]
    /// Whether it has bodies with octets above 127; nil as long as nobody has looked.
    private var hasEightBit: Bool?
    /// Whether it may hold anything, not only lines (RFC 3030).
    let isBinary: Bool
    /// Whether its header has UTF-8 (RFC 6532); nil as long as nobody has looked.
    private var hasUTF8Header: Bool?
    /// Whether it says that it may go whatever is published of TLS; nil as long as nobody has looked.
    private var waivesTLS: Bool?
    /// What was read to look at it, for the first that sends it.
    private var begun: (reader: Deliverer.MessageReader, pieces: CircularBuffer<ByteBuffer>)?

    /// What it was signed with, in the forms that were looked at; nil where it goes unsigned.
    private var signatures: [Form: SignedMessage?] = [:]

    /// - Parameters:
    ///   - hostname: names us where a part was encoded.
    ///   - signer: signs or seals it.
    init(_ job: DeliveryJob, hostname: String, signer: MessageSigner?, logger: Logger) {
        submitter = job.request.submitter
        self.signer = signer.flatMap { [submitter] in $0.isIdle(for: submitter) ? nil : $0 }
        source = job.message
        id = job.request.id
        isBinary = job.request.sender.parameters.body == .binaryMIME
        // A binary message never goes as it is over DATA.
        lines = [.lines: isBinary ? .long : .unknown, .sevenBit: .long]
        self.hostname = hostname
        self.logger = logger
    }

    /// Whether it goes in other lines than it came in: its size is not known then.
    func isRewritten(_ form: Form) -> Bool {
        switch lines[form] {
        case .rewritten: true
        case .unknown, .short, .long, .refused, nil: false
        }
    }

    /// A line turned out to be too long.
    func noteLongLine(_ form: Form) { lines[form] = .long }

    /// How it goes to a host that takes it in lines.
    ///
    /// - Parameter takesEightBit: whether the host takes octets above 127 in bodies (8BITMIME).
    func form(takesEightBit: Bool) async throws(MessageSourceError) -> Form {
        if takesEightBit { return .lines }
        if let hasEightBit { return hasEightBit ? .sevenBit : .lines }
        var isFound = Self.hasEightBit(source.added)
        if !isFound, let whole = source.whole {
            isFound = Self.hasEightBit(whole)
        } else if !isFound {
            let reader = source.reader()
            while !isFound, let piece = try await reader.next() { isFound = Self.hasEightBit(piece) }
        }
        if isFound {
            let found = try await survey(.sevenBit)
            lines[.sevenBit] = found
            // Eight bits in the header alone stay.
            if case .short = found { isFound = false }
        }
        hasEightBit = isFound
        return isFound ? .sevenBit : .lines
    }

    private static func hasEightBit(_ octets: ByteBuffer) -> Bool { octets.readableBytesView.contains { $0 > 0x7f } }

    /// Looks at the message, as far as that must be before it's sent; the result for all recipients where it can't be sent
    /// at all.
    func prepare(_ form: Form) async throws(MessageSourceError) -> DeliveryResult? {
        switch lines[form] {
        case .short, .rewritten, nil: return nil
        case .refused(let result): return result
        case .unknown: if try await !beginsWithLongLine() { return nil }
        case .long: break
        }
        let found = try await survey(form)
        lines[form] = found
        if case .refused(let result) = found { return result }
        return nil
    }

    private func beginsWithLongLine() async throws(MessageSourceError) -> Bool {
        if LineLengths.areTooLong(source.added.readableBytesView) { return true }
        if let whole = source.whole {
            if LineLengths.areTooLong(whole.readableBytesView) { return true }
            lines[.lines] = .short
            return false
        }
        guard begun == nil else { return false }
        let reader = source.reader()
        var pieces: CircularBuffer<ByteBuffer> = []
        while pieces.count < (source.added.readableBytes > 0 ? 2 : 1), let piece = try await reader.next() {
            pieces.append(piece)
        }
        guard !(pieces.last.map { LineLengths.areTooLong($0.readableBytesView) } ?? false) else { return true }
        begun = (reader, pieces)
        return false
    }

    /// Reads all of it and finds out what is to be changed.
    private func survey(_ form: Form) async throws(MessageSourceError) -> Lines {
        begun = nil
        let isSevenBit = form == .sevenBit
        var survey = LongLineSurvey(hostname: hostname, encodesBinary: isBinary, encodesEightBit: isSevenBit)
        let reader = source.reader()
        while let piece = try await reader.next() { survey.feed(piece) }
        survey.finish()
        if let obstacle = survey.obstacle {
            // RFC 3030 §3 for binary mail, RFC 6152 §3 for that of eight bits.
            let isUnsupported = isBinary || obstacle.isAboutEightBit
            let status: EnhancedStatusCode = isUnsupported ? .conversionNotSupported : .conversionProhibited
            return .refused(DeliveryResult(.failed, status, obstacle.text))
        }
        if isSevenBit, survey.edits.isEmpty { return .short }
        let reason =
            isSevenBit
            ? "the host takes seven bits only"
            : isBinary ? "it is binary" : "it has lines of more than \(DataEncoder.lineLimit) octets"
        logger.notice(
            "message rewritten: \(reason)",
            metadata: [
                "id": "\(id)", "fields": "\(survey.foldedFields)", "bodies": "\(survey.changedBodies)",
                "dkim": survey.isSealed ? survey.breaksSeal ? "broken" : "kept" : "none",
            ]
        )
        return .rewritten(survey.edits)
    }

    /// Signs it for a form, if that is to be done and wasn't; the result for all recipients where it can't be sent now.
    func sign(_ form: Form) async throws(MessageSourceError) -> DeliveryResult? {
        guard let signer, signatures[form] == nil else { return nil }
        let key = MessageSigner.Key(id: id, octets: source.totalOctets, form: form)
        let outcome = try await signer.outcome(of: key) { () async throws(MessageSourceError) in
            try await signatures(form, signer)
        }
        switch outcome {
        case .refused(let result): return result
        case .unsigned: signatures[form] = .some(nil)
        case .signed(let signed):
            // Perhaps over lines that another delivery of it has seen.
            if form != .binary, signed.isRewritten {
                if !isRewritten(form) { lines[form] = .long }
                if let refusal = try await prepare(form) { return refusal }
            }
            if form != .binary, !signed.isRewritten { lines[form] = .short }
            signatures[form] = signed
        }
        return nil
    }

    private func signatures(_ form: Form, _ signer: MessageSigner) async throws(MessageSourceError)
        -> MessageSigner.Outcome
    {
        var hasAskedAgain = false
        while true {
            if form != .binary, let refusal = try await prepare(form) { return .refused(refusal) }
            switch try await hash(form, signer) {
            case .longLine where isRewritten(form): return .refused(refuseForGood(form))
            case .longLine: noteLongLine(form)
            case .unsigned: return .unsigned
            case .failed(let error): return .refused(signer.refusal(error, id: id))
            case .hashed(let message, let octets, let work):
                do throws(SigningKeysError) {
                    guard let fields = try await signer.fields(for: message, work, id: id) else { return .unsigned }
                    let isRewritten = isRewritten(form)
                    let sent = octets + fields.readableBytes
                    return .signed(SignedMessage(fields: fields, isRewritten: isRewritten, octets: sent))
                } catch {
                    // A key may have gone since it was named.
                    if error.isRefusal, !hasAskedAgain {
                        hasAskedAgain = true
                        continue
                    }
                    return .refused(signer.refusal(error, id: id))
                }
            }
        }
    }

    private enum Hashed {
        case longLine
        case unsigned
        case hashed(HashedMessage, octets: Int, MessageSigner.Work)
        case failed(SigningKeysError)
    }

    /// Hashes it as the other host will have it. What is to be done with it is asked when the header is known: of a message that goes
    /// as it is, the body is neither hashed nor read to its end.
    private func hash(_ form: Form, _ signer: MessageSigner) async throws(MessageSourceError) -> Hashed {
        var limits = SignatureLimits()
        // Signatures that it has already are not looked at.
        limits.bodyHashes = 0
        let hasher = MessageHasher(methods: [MessageSigner.bodyHashMethod], limits: limits)
        var encoder = DataEncoder(stuffsDots: false)
        var pieces = unsignedPieces(form)
        var work: MessageSigner.Work?
        var octets = 0
        while var piece = try await pieces.next() {
            if form != .binary {
                var encoded = ByteBuffer()
                encoder.encode(&piece, into: &encoded)
                guard encoder.longestLine <= DataEncoder.lineLimit else { return .longLine }
                piece = encoded
            }
            octets += piece.readableBytes
            if hasher.endedHeader == nil {
                let end = piece.withUnsafeReadableBytes { hasher.feedHeader($0) }
                guard let end, let header = hasher.endedHeader else { continue }
                piece.moveReaderIndex(forwardBy: end)
                do throws(SigningKeysError) {
                    work = try await signer.work(for: header, of: submitter, id: id)
                } catch {
                    return .failed(error)
                }
                if work == nil { return .unsigned }
            }
            piece.withUnsafeReadableBytes { hasher.feed($0) }
        }
        if form != .binary {
            var rest = ByteBuffer()
            encoder.finish(into: &rest)
            octets += rest.readableBytes
            rest.withUnsafeReadableBytes { hasher.feed($0) }
        }
        let message = hasher.finish()
        do throws(SigningKeysError) {
            if work == nil { work = try await signer.work(for: message.header, of: submitter, id: id) }
            return work.map { .hashed(message, octets: octets, $0) } ?? .unsigned
        } catch {
            return .failed(error)
        }
    }

    /// Whether its header, or one of a part, has UTF-8, which only hosts with SMTPUTF8 take (RFC 6531 §3.5).
    func needsUTF8() async throws(MessageSourceError) -> Bool {
        if let hasUTF8Header { return hasUTF8Header }
        let isFound = try await hasField(inParts: true) { name, value in
            value.contains { $0 > 0x7F } || name.contains { $0 > 0x7F }
        }
        hasUTF8Header = isFound
        return isFound
    }

    /// Whether its header says `TLS-Required: No` (RFC 8689 §3): it may go whatever hosts and domains have published of TLS.
    func saysTLSIsOptional() async throws(MessageSourceError) -> Bool {
        if let waivesTLS { return waivesTLS }
        let isFound = try await hasField(inParts: false) { name, value in
            ASCII.equal(name, "tls-required") && ASCII.equal(value.filter { !ASCII.isWhitespace($0) }, "no")
        }
        waivesTLS = isFound
        return isFound
    }

    /// Whether its header has a field that is meant, by name and value.
    ///
    /// - Parameter inParts: whether those of parts count as well.
    private func hasField(
        inParts: Bool,
        _ isMeant: @escaping (_ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) -> Bool
    ) async throws(MessageSourceError) -> Bool {
        var parser = MessageParser()
        var isFound = false
        var isOver = false
        let look: (MessageEvent) -> Void = { event in
            switch event {
            case .field(_, let name, let value) where !isFound && !isOver: isFound = isMeant(name, value)
            case .headerEnd: isOver = !inParts
            default: break
            }
        }
        let reader = source.reader()
        while !isFound, !isOver, let piece = try await reader.next() {
            piece.withUnsafeReadableBytes { parser.feed($0, to: look) }
        }
        if inParts { parser.finish(to: look) }
        return isFound
    }

    /// What is sent has a line that is too long all the same.
    func refuseForGood(_ form: Form) -> DeliveryResult {
        let text = "the message has a line of more than \(DataEncoder.lineLimit) octets that can't be broken"
        let result = Self.refusal(text)
        lines[form] = .refused(result)
        return result
    }

    private static func refusal(_ text: String) -> DeliveryResult {
        DeliveryResult(.failed, .conversionProhibited, text)
    }

    /// The octets that are sent in a form; nil where only sending shows it.
    func octets(_ form: Form) -> Int? {
        if let signed = signatures[form] ?? nil { return signed.octets }
        return isRewritten(form) ? nil : source.totalOctets
    }

    /// Reads it from its beginning, as it's to be sent.
    func pieces(_ form: Form) -> Pieces {
        var pieces = unsignedPieces(form)
        pieces.front = (signatures[form] ?? nil)?.fields
        return pieces
    }

    private func unsignedPieces(_ form: Form) -> Pieces {
        guard form != .binary else { return Pieces(reader: source.reader(), read: [], rewriter: nil) }
        defer { begun = nil }
        let changes: [LongLineSurvey.Edit]? = if case .rewritten(let edits) = lines[form] { edits } else { nil }
        return Pieces(
            reader: begun?.reader ?? source.reader(),
            read: begun?.pieces ?? [],
            rewriter: changes.map { LongLineRewriter($0) }
        )
    }

    /// The pieces of the message as it's to be sent.
    struct Pieces {
        /// Goes first, and as it is.
        fileprivate var front: ByteBuffer?
        fileprivate let reader: Deliverer.MessageReader
        fileprivate var read: CircularBuffer<ByteBuffer>
        fileprivate var rewriter: LongLineRewriter?

        /// The next one; nil at the end.
        mutating func next() async throws(MessageSourceError) -> ByteBuffer? {
            if let front {
                self.front = nil
                return front
            }
            var next = read.popFirst()
            if next == nil { next = try await reader.next() }
            if next == nil, rewriter != nil {
                // Something may stand behind the last octet.
                var rest: [UInt8] = []
                rewriter?.finish(into: &rest)
                rewriter = nil
                return rest.isEmpty ? nil : ByteBuffer(bytes: rest)
            }
            guard let piece = next, rewriter != nil else { return next }
            var octets: [UInt8] = []
            octets.reserveCapacity(piece.readableBytes)
            piece.withUnsafeReadableBytes { rewriter?.feed($0, into: &octets) }
            return ByteBuffer(bytes: octets)
        }
    }
}

extension EnhancedStatusCode {
    /// 5.6.2: the message would have to be converted, and may not or can't be (RFC 3463 §3.7).
    static let conversionProhibited = EnhancedStatusCode(5, 6, 2)
}
