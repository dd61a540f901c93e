import Recursion
import NIOCore
import NIOHTTP1

/// What requests of HTTP/1.1 come to that nobody answers: the last handler of a channel, behind the decoder that
/// connections have. For the fuzzer.
package final class HTTPSRehearsal: ChannelInboundHandler {
    package typealias InboundIn = HTTPServerRequestPart

    /// What a request came to.
    package enum Outcome: Hashable, Sendable {
        case query([UInt8])
        /// The status that would be answered.
        case refused(UInt)
    }

    package private(set) var outcomes: [Outcome] = []
    private var request: Result<HTTPSRequest, HTTPSRequest.Refusal>?

    /// Where DNS is answered.
    package static let path = "/dns-query"

    package init() {}

    /// What makes requests of octets.
    package static func decoder() -> any ChannelHandler { HTTPSSession.decoder() }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head):
            request = Result { () throws(HTTPSRequest.Refusal) in try HTTPSRequest(head, path: Self.path) }
        case .body(let piece):
            request = request?.flatMap { begun in
                Result { () throws(HTTPSRequest.Refusal) in
                    var request = begun
                    try request.take(piece)
                    return request
                }
            }
        case .end:
            guard let request else { return }
            do throws(HTTPSRequest.Refusal) {
                outcomes.append(.query(Array(try request.get().query().readableBytesView)))
            } catch {
                outcomes.append(.refused(error.status.code))
            }
            self.request = nil
        }
    }
}
