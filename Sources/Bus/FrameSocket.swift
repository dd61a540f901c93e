import NIOCore
import Network

#if canImport(Glibc)
import Glibc
#endif

/// A plain blocking connection to another daemon's socket, for commands that have no event loop.
package final class FrameSocket {
    private let path: String
    private let descriptor: CInt
    private var parser = FrameParser()
    private var input = ByteBuffer()

    /// Connects.
    ///
    /// - Throws: `unavailable` where nobody listens.
    package init(_ path: String) throws(BusError) {
        self.path = path
        descriptor = socket(AF_UNIX, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw Self.unavailable(path, errno) }
        let code = UnixSocket.connect(descriptor, to: path)
        guard code == 0 else { throw Self.unavailable(path, code) }
    }

    deinit { close(descriptor) }

    /// Sends frames in one piece.
    ///
    /// - Throws: `unavailable` where the other side hung up. It may have said why before: `receive` tells.
    package func send(_ frames: [Frame]) throws(BusError) {
        var octets = ByteBuffer()
        for frame in frames { octets.writeFrame(frame) }
        while octets.readableBytes > 0 {
            // MSG_NOSIGNAL: a broken connection is an error here and not the end of the process.
            let count = octets.withUnsafeReadableBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw Self.unavailable(path, errno) }
            octets.moveReaderIndex(forwardBy: count)
        }
    }

    /// Waits for the next frame.
    ///
    /// - Throws: `unavailable` where the connection ends or fails first, `malformed`.
    package func receive() throws(BusError) -> Frame {
        while true {
            do throws(FrameError) {
                if let frame = try parser.next(from: &input) { return frame }
            } catch {
                throw .malformed("\(path): \(error.text)")
            }
            var failure: CInt = 0
            let count = input.writeWithUnsafeMutableBytes(minimumWritableBytes: 65536) { space in
                let count = read(descriptor, space.baseAddress, space.count)
                if count < 0 { failure = errno }
                return max(0, count)
            }
            if failure == EINTR { continue }
            guard failure == 0 else { throw Self.unavailable(path, failure) }
            guard count > 0 else { throw .unavailable("\(path): closed the connection") }
        }
    }

    private static func unavailable(_ path: String, _ code: CInt) -> BusError {
        .unavailable("\(path): \(String(cString: strerror(code)))")
    }
}
