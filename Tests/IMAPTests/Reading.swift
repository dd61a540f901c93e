import IMAP
import NIOCore

/// Feeds octets to a reader in pieces and collects all that it says. What belongs to messages of APPEND is taken as a session
/// does.
func readCommands(
    _ octets: [UInt8],
    piece: Int = .max,
    limits: CommandLimits = CommandLimits(),
    usesUTF8: Bool = false
) -> [CommandReader.Output] {
    var reader = CommandReader(limits: limits)
    reader.usesUTF8 = usesUTF8
    var outputs: [CommandReader.Output] = []
    var input = ByteBuffer()
    var rest = ByteBuffer(bytes: octets)
    var missing = 0
    while let slice = rest.readSlice(length: min(piece, rest.readableBytes)), slice.readableBytes > 0 {
        input.writeImmutableBuffer(slice)
        while true {
            let taken = min(missing, input.readableBytes)
            input.moveReaderIndex(forwardBy: taken)
            missing -= taken
            guard missing == 0 else { break }
            let output = reader.next(from: &input)
            if output == .needMore { break }
            outputs.append(output)
            if case .fatal = output { return outputs }
            if case .append(_, let steps) = output, case .literal(let literal)? = steps.last { missing = literal.size }
        }
    }
    return outputs
}

func readCommands(_ text: String, piece: Int = .max, limits: CommandLimits = CommandLimits()) -> [CommandReader.Output]
{
    readCommands(Array(text.utf8), piece: piece, limits: limits)
}
