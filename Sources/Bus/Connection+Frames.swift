import NIOCore
import Network

extension Connection {
    /// Reads the next frame; nil at the end of the stream between two frames.
    ///
    /// - Throws: `FrameError` (answer it with `REJECT` 5.5.2 and close), `ConnectionError`.
    package func readFrame(_ parser: inout FrameParser) async throws -> Frame? {
        while true {
            if input.readableBytes > 0, let frame = try parser.next(from: &input) { return frame }
            guard try await receive() else { return nil }
        }
    }

    /// Adds a frame to what the next `flush` sends. A large body isn't copied.
    package func write(_ frame: Frame) {
        write(with: { $0.writeFrameHead(frame) })
        if let body = frame.body { write(body) }
    }
}
