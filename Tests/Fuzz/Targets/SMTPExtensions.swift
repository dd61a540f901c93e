import NIOCore
import Network
import Rewriting
import SMTP

/// Parameters of MAIL and RCPT (DSN and the others): what was read is read again from what is written.
let smtpParametersTarget = FuzzTarget("smtp-parameters", maximum: 1024) { input in
    let text = Array(input)
    if let sender = try? EnvelopeSender(parsing: Array("<a@b.example> ".utf8) + text) {
        let again = try? EnvelopeSender(parsing: sender.description.utf8)
        demand(again == sender, "another sender: \(sender)")
        demand(sender.description.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "no line of ASCII: \(sender)")
        _ = sender.parameters.used
    }
    if let recipient = try? EnvelopeRecipient(parsing: Array("<a@b.example> ".utf8) + text) {
        let again = try? EnvelopeRecipient(parsing: recipient.description.utf8)
        demand(again == recipient, "another recipient: \(recipient)")
        demand(recipient.description.utf8.allSatisfy { (0x20...0x7E).contains($0) }, "no line of ASCII: \(recipient)")
    }
}

/// What a proxy says about its client by XCLIENT.
let clientAttributesTarget = FuzzTarget("smtp-xclient", maximum: 1024) { input in
    guard let attributes = ClientAttributes(parsing: Array(input)) else { return }
    for name in ClientAttributes.Name.allCases {
        guard let value = attributes[name] else { continue }
        demand(attributes.named.contains(name), "a value without a name")
        demand(value.utf8.count <= 255 && value.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }, "no value: \(value)")
        _ = attributes.ipAddress(name)
    }
}

/// The header of the PROXY protocol: the same whatever pieces it comes in, and never more taken than it has.
let proxyHeaderTarget = FuzzTarget("proxy-header", maximum: 4096) { input in
    var whole = ByteBuffer(bytes: input)
    let outcome = Result { try ProxyHeader.next(&whole) }
    var pieces = ByteBuffer()
    for (index, octet) in input.enumerated() {
        pieces.writeInteger(octet)
        switch Result(catching: { try ProxyHeader.next(&pieces) }) {
        case .success(nil): continue
        case .success(let header?):
            guard case .success(header) = outcome else { fatalError("in pieces \(header), as a whole \(outcome)") }
            demand(pieces.readableBytes == 0, "a header that was whole before")
            demand(whole.readableBytes == input.count - index - 1, "another length")
            return
        case .failure:
            guard case .failure = outcome else { fatalError("refused in pieces, taken as a whole") }
            return
        }
    }
    if case .success(let header?) = outcome { fatalError("\(header) only as a whole") }
}

/// A client's stream of BDAT commands and chunks: framed by the sizes alone, and lines judged alike in any pieces.
let chunkTarget = FuzzTarget("smtp-chunks", maximum: 8192) { input in
    var stream = ByteBuffer(bytes: input)
    var message: [UInt8] = []
    var scanner = ChunkScanner()
    var step = 1
    while let end = stream.readableBytesView.firstIndex(of: 0x0A) {
        var line = stream.readSlice(length: end - stream.readerIndex + 1)?.readableBytesView.dropLast() ?? []
        if line.last == 0x0D { line = line.dropLast() }
        guard let command = try? SMTP.Command(parsing: line, options: .utf8) else { return }
        guard case .bdat(let octets, let isLast) = command else { continue }
        demand(octets >= 0, "a chunk of a negative size")
        guard octets <= stream.readableBytes else { return }
        var left = octets
        while left > 0, let piece = stream.readSlice(length: min(step, left)) {
            message += piece.readableBytesView
            scanner.scan(piece)
            left -= piece.readableBytes
            step = step % 7 + 1
        }
        guard isLast else { continue }
        scanner.finish()
        demand(scanner.hasBareLineEnd == hasBareLineEnd(message), "bare line ends are seen otherwise as a whole")
        (message, scanner) = ([], ChunkScanner())
    }
}

private func hasBareLineEnd(_ message: [UInt8]) -> Bool {
    message.indices.contains { index in
        switch message[index] {
        case 0x0A: index == 0 || message[index - 1] != 0x0D
        case 0x0D: index + 1 == message.count || message[index + 1] != 0x0A
        default: false
        }
    }
}

/// Binary mail that becomes lines: alike in any pieces, and no line is too long or binary.
let rewritingTarget = FuzzTarget("binary-rewriting", maximum: 8192) { input in
    var survey = LongLineSurvey(hostname: "mail.example.test", encodesBinary: true)
    survey.feed(ByteBuffer(bytes: input))
    survey.finish()
    guard survey.obstacle == nil else { return }
    var whole: [UInt8] = []
    var rewriter = LongLineRewriter(survey.edits)
    rewriter.feed(input, into: &whole)
    rewriter.finish(into: &whole)
    var pieces: [UInt8] = []
    var other = LongLineRewriter(survey.edits)
    for index in input.indices { other.feed(UnsafeRawBufferPointer(rebasing: input[index...index]), into: &pieces) }
    other.finish(into: &pieces)
    demand(whole == pieces, "other pieces, other octets")
}
