import DNS
import DNSSEC
import NIOConcurrencyHelpers
import NIOCore
import Network
import Recursion

extension ResolverServer {
    /// Begins with what was known of the trust anchors' keys before the start.
    func follow(_ keeper: TrustAnchorKeeper) async {
        await keeper.load()
        self.keeper.withLockedValue { $0 = keeper }
        await adopt(keeper.anchors)
    }

    /// Looks at the trust anchors' keys as often as their zones want, until it's cancelled.
    func watchAnchors(every interval: TimeAmount) async {
        guard let loop = shards.first?.loop else { return }
        while !Task.isCancelled {
            await refreshAnchors()
            await loop.pause(interval)
        }
    }

    /// Looks at the keys whose time has come.
    func refreshAnchors() async {
        guard let keeper = keeper.withLockedValue({ $0 }) else { return }
        let changed = await keeper.refresh { zone in
            await Shard.responsible(for: zone, shards).keysAnew(of: zone)
        }
        if let changed { await adopt(changed) }
    }

    /// What was proven by other keys is forgotten.
    private func adopt(_ anchors: TrustAnchors) async {
        for shard in shards { await shard.onLoop { $0.adopt(anchors) } }
        for engine in engines { _ = try? await engine.loop.submit { engine.forgetReadyAnswers() }.get() }
    }

    /// The keys in which trust begins, as the administrator sees them.
    var anchorDescriptions: [AnchorDescription] {
        guard let points = keeper.withLockedValue({ $0 })?.points else {
            return settings.recursion.trustAnchors.zones.flatMap { zone in
                settings.recursion.trustAnchors.signers(of: zone).map {
                    AnchorDescription(zone: zone, $0, state: "fixed")
                }
            }
        }
        return points.flatMap { point in
            let known = point.keys.compactMap { key in
                key.record.signer().map { signer in
                    let until = key.state == .pending || key.state == .revoked ? key.until : nil
                    return AnchorDescription(
                        zone: point.zone,
                        signer,
                        state: key.state.rawValue,
                        since: key.since,
                        until: until
                    )
                }
            }
            let unseen = point.unseen.map { AnchorDescription(zone: point.zone, $0, state: "configured") }
            return known + unseen
        }
    }
}

/// One key in which trust begins.
struct AnchorDescription: Sendable {
    var zone: DomainName
    var signer: DelegationSigner
    /// `pending`, `valid`, `missing`, `revoked` or `removed`; `configured` for one that no key has shown up for; `fixed`
    /// where keys aren't followed.
    var state: String
    /// When it came into the state, and when it may leave it. Seconds since 1970.
    var since: Int64?
    var until: Int64?

    init(zone: DomainName, _ signer: DelegationSigner, state: String, since: Int64? = nil, until: Int64? = nil) {
        self.zone = zone
        self.signer = signer
        self.state = state
        self.since = since
        self.until = until
    }
}
