import CLinux
import Testing

@Suite struct RightsTests {
    @Test func landlockIsKnown() {
        #expect(CLinux_landlock_abi() >= 0)
    }

    @Test func peerOfNoSocketIsAnError() {
        #expect(CLinux_peer_uid(-1) == -1)
    }

    @Test func offsetOfUTCIsWithinADay() {
        #expect(abs(CLinux_utc_offset(1_795_447_200)) <= 14 * 3600)
    }
}
