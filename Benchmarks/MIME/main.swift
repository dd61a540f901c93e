import Glibc
import MIME

// mime-bench structure|decode FILE…: reads the files in turn, as the drivers for other libraries do.
// mime-bench read FILE…: prints what is in the files, for comparison with other libraries (PartListing).

/// Adds up what there is, so that nothing is left out as unused.
struct Totals {
    var parts = 0
    var octets = 0
}

/// The file's octets in memory that is used again for the next.
func read(_ path: String, into buffer: inout [UInt8]) -> Int {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return 0 }
    defer { close(descriptor) }
    var count = 0
    while true {
        if count == buffer.count { buffer.append(contentsOf: repeatElement(0, count: max(count, 1 << 20))) }
        let room = buffer.count - count
        let got = buffer.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress?.advanced(by: count), room) }
        guard got > 0 else { return count }
        count += got
    }
}

let isListing = CommandLine.arguments.dropFirst().first == "read"
let isDecoding = CommandLine.arguments.dropFirst().first == "decode"
var totals = Totals()
var buffer: [UInt8] = []
var decoded: [UInt8] = []
var decoder: TransferDecoder?
for path in CommandLine.arguments.dropFirst(2) {
    let count = read(path, into: &buffer)
    buffer.withUnsafeBytes { octets in
        let message = UnsafeRawBufferPointer(rebasing: octets[..<count])
        if isListing { return PartListing.print(message) }
        guard isDecoding else {
            var parser = StructureParser()
            parser.feed(message)
            totals.parts += parser.finish().children.count
            return
        }
        var parser = MessageParser()
        let receive: (MessageEvent) -> Void = { event in
            switch event {
            case .headerEnd(_, _, let content):
                decoder = TransferDecoder(content.encoding)
                totals.parts += 1
            case .body(_, let body): decoder?.decode(body, into: &decoded)
            case .partEnd:
                decoder?.finish(into: &decoded)
                totals.octets += decoded.count
                decoded.removeAll(keepingCapacity: true)
            case .partBegin, .field, .outside: break
            }
        }
        parser.feed(message, to: receive)
        parser.finish(to: receive)
    }
}
if !isListing { print(totals.parts, totals.octets) }
